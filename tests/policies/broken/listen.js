// expect: listen.js: SmtpServer.listenAddress must be an array
SmtpServer.listenAddress = "127.0.0.1:25";
