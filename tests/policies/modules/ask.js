exports.ask = function (host) {
    var client = new SmtpClient(host, 25);
    client.connect();
    return client.readResponse().message[0];
};
