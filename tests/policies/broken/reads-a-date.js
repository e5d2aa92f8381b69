// expect: session.extensions cannot be used while the policy is being loaded; use it in a handler
new SmtpServer("x", 1).extensions();
