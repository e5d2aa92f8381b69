// expect: waits.js:3
// expect: client.connect cannot be used while the policy is being loaded; use it in a handler
new SmtpClient("127.0.0.1").connect();
