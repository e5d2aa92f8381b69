// expect: limits.js: SmtpServer.limits must be an object
SmtpServer.limits = [1, 2];
