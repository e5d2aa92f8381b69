// expect: no-class.js
SmtpServer = null;
