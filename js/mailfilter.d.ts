/*
 * Mailfilter's whole interface to policies, declared for editors and for the TypeScript compiler.
 *
 * For a JavaScript policy put a file jsconfig.json beside it, and an editor completes and checks it:
 *
 *     {"compilerOptions": {"checkJs": true, "noEmit": true, "target": "es2015", "lib": ["es2019"], "module": "commonjs",
 *                          "types": []},
 *      "files": ["policy.js", "/path/to/mailfilter.d.ts"]}
 *
 * Everything here is global. Calls that talk to somebody else (marked "waits") read like any other call: the handler
 * goes on when the answer is there, and other sessions run meanwhile. They cannot be used at the top level of a policy.
 */

/** What a handler returns: `new SmtpResponse(...)`, or any object of this form. */
interface SmtpReply {
    /** The reply code, 200 to 599. 2xx and 3xx accept, 4xx refuse for now, 5xx for good; 421 closes. */
    code: number;
    /** The text. An array, or line feeds in it, make a reply of several lines. It must not be empty. */
    message: string | string[];
    /** Close the connection after this reply. */
    disconnect?: boolean;
}

/** An answer to a message, perhaps with one for each recipient, as a next hop gives it. */
interface SmtpMessageReply extends SmtpReply {
    /** One for each recipient, in their order. */
    recipients?: SmtpReply[];
}

/** How a handler without a default may end: a reply, or nothing for "no opinion" (the program answers by itself). */
type SmtpOpinion = SmtpReply | null | undefined | void;

/** A reply (RFC 5321 §4.2). */
declare class SmtpResponse implements SmtpReply {
    /**
     * @param code 200 to 599
     * @param message the text; an array, or line feeds in it, give several lines
     * @param disconnect close the connection after this reply (only a real `true` counts)
     */
    constructor(code: number, message: string | string[], disconnect?: boolean);
    /** The reply code. */
    code: number;
    /** The text as it was given. */
    message: string | string[];
    /** Whether the connection is closed after it. */
    disconnect: boolean;
}

/** A reply of a next hop, as `SmtpClient.readResponse()` gives it. A handler may return it as it is. */
interface SmtpReceivedResponse extends SmtpResponse {
    /** One element for each line. */
    message: string[];
}

/**
 * One client's session. The program makes one instance for each connection and calls its methods by name; in them
 * `this` is that instance. A policy replaces the methods of `SmtpServer.prototype` that it cares for:
 *
 *     SmtpServer.prototype.smtpRcpt = function (path) {
 *         return path.mailbox.domain === 'example.org'
 *             ? new SmtpResponse(250, '2.1.5 Ok')
 *             : new SmtpResponse(550, '5.7.1 No mail for that address here');
 *     };
 *
 * A handler that throws, returns nothing where a reply is needed, or returns nonsense, gives the client 451 4.3.0.
 *
 * A policy may give an instance properties and methods of its own (`this.smtpClient = ...`); they last for the
 * connection. They are of type any unless declared: `interface SmtpServer { smtpClient?: SmtpClient }`.
 */
interface SmtpServer {
    /** The client's address; `"local"` for a UNIX socket. */
    remoteAddr: string;
    /** The client's port; 0 for a UNIX socket. */
    remotePort: number;
    /** What the client called itself in its last accepted HELO or EHLO. */
    clientname: string | null;
    /** `"SMTP"` until EHLO is accepted, then `"ESMTP"`. */
    proto: string;
    /** The sender of the running transaction. Null while `smtpMail` runs: that is where it is decided. */
    sender: SmtpPath | null;
    /** The recipients accepted so far. The one that `smtpRcpt` decides about is not among them yet. */
    recipients: SmtpPath[];
    /** Close after the reply. Every reply that a handler returns overwrites it. */
    disconnect: boolean;
    /** Our own name, in the greeting and in Received. Set it on the prototype, or with `--hostname`. */
    hostname: string;
    /** The name of this session in the log, as `K852-17`. */
    readonly sessionId: string;
    /** What is known of the TLS that the client speaks at this moment; null without. */
    readonly tls: SmtpTls | null;
    /** Who the client has shown to be by AUTH: what `smtpAuth` has set here, or the name that it gave. Null: nobody. */
    authenticated: string | null;
    /**
     * What a trusted client (`--trust`) has said by XCLIENT about whom it speaks for, by attribute: NAME, ADDR, PORT, PROTO,
     * HELO, LOGIN, DESTADDR, DESTPORT; null for what it does not know. `remoteAddr` and the like have it, too.
     */
    xclient: { [attribute: string]: string | null } | null;
    /** The same of XFORWARD (NAME, ADDR, PORT, PROTO, HELO, IDENT, SOURCE): for the log, nothing else changes by it. */
    forwarded: { [attribute: string]: string | null } | null;

    /**
     * In `smtpAuth`: sends a challenge (334) and gives the client's answer, in base64; `"*"` when it has given up, and then it
     * reads 501 whatever is returned. Waits.
     * @param text base64; `""` for none
     */
    challenge(text: string): string;
    /**
     * In `smtpAuth`: name and password by PLAIN or LOGIN, asking what is still to be asked. Null when the client has given
     * up, or what it says is not of the mechanism. Waits.
     */
    credentials(mechanism: string, initialResponse: string | null): { user: string; password: string; authzid: string } | null;

    /** The service extensions that the program can offer, as they stand in an EHLO reply. */
    extensions(): string[];

    /**
     * The limits that hold for this session, by name: numbers.
     * @param changes what is to be changed for the rest of this session
     * @throws Error for an unknown name, a value that is none, or a limit that is not one of the session alone
     */
    limits(changes?: SmtpLimits | null): { [name: string]: number };
    /** The same for the timeouts, in seconds. */
    timeouts(changes?: SmtpTimeouts | null): { [name: string]: number };
    /**
     * Lets the handler wait, at most 300 seconds. Waits.
     * @returns whether it has: not when as many sessions as the limit `tarpits` says are kept waiting already
     */
    pause(seconds: number): boolean;
    /** From now on each reply to this client comes so many seconds later (0 to 300), as long as the tarpit has room. */
    tarpit(seconds: number): void;
    /** Whether the client has sent something before its greeting. `pause()` in `smtpInit` gives it the time to. */
    talkedEarly(): boolean;

    /** The client has connected: the greeting. After 5xx only QUIT is taken; 4xx closes. Default: 220. */
    smtpInit(): SmtpReply;
    /** HELO. `hostname` is what the client calls itself. Default: 250. */
    smtpHelo(hostname: string): SmtpReply;
    /**
     * EHLO. Lines after the first are service extensions. Those that the program cannot do are left out on the way to
     * the client; PIPELINING, SIZE, CHUNKING and LIMITS are always there, unless a line `'-CHUNKING'` (say) withholds
     * one. Default: 250 and `extensions()`.
     */
    smtpEhlo(hostname: string): SmtpReply;
    /** MAIL: may this sender? Default: 250. */
    smtpMail(path: SmtpPath): SmtpReply;
    /** RCPT: may this recipient? Default: 250. */
    smtpRcpt(path: SmtpPath): SmtpReply;
    /**
     * The whole message has arrived: what becomes of it? A 2xx says that it is safe; 3xx is no answer here. Default: 451.
     *
     * It is called with `null, null` when the program has given the message up: it was refused (too big, bare line
     * feeds), could not be stored, or the client went away inside it. The result is not used then.
     *
     * An array has a reply for each recipient in their order. The client is told them all where it has asked for that
     * (PRDR); otherwise one that stands for all, which is a 2xx only when all are.
     */
    smtpData(headers: SmtpHeader[] | null, body: SmtpBody | null): SmtpMessageReply | SmtpReply[] | null;
    /** RSET. A 2xx resets the transaction. Default: 250. */
    smtpRset(): SmtpReply;
    /** The session is over, for whatever reason; called once. The result is not used. Default: nothing. */
    cleanup(): void;

    /* Those below are called only when they are there when the policy has been loaded; one assigned later is not. */

    /**
     * DATA, before the message: 354 lets it come, 4xx and 5xx refuse it. No opinion: 354.
     * @param how `'BDAT'` when the message comes in chunks
     */
    smtpPreData?(how?: string): SmtpOpinion;
    /** The whole message, before `smtpData`: 4xx and 5xx refuse it. No opinion: `smtpData` is asked. */
    smtpBody?(headers: SmtpHeader[], body: SmtpBody): SmtpOpinion;
    /** NOOP. No opinion: 250. */
    smtpNoop?(text?: string): SmtpOpinion;
    /** VRFY. No opinion: 252. */
    smtpVrfy?(text: string): SmtpOpinion;
    /** EXPN. No opinion: 502. */
    smtpExpn?(text: string): SmtpOpinion;
    /** HELP. No opinion: 214. */
    smtpHelp?(text?: string): SmtpOpinion;
    /** A command that is none; `line` is all of it. No opinion: 500. */
    smtpUnknown?(line: string): SmtpOpinion;
    /** STARTTLS: 2xx begins the handshake, 4xx and 5xx refuse. Only where the server has a certificate. No opinion: 220. */
    smtpStartTls?(): SmtpOpinion;
    /**
     * AUTH (RFC 4954): 2xx (235) authenticates the client, as `this.authenticated` if that is set here. A fault is 454. AUTH is
     * offered only to policies that have this handler, and under TLS only (`--auth-without-tls`).
     * @param mechanism in capitals, one of those that were announced
     * @param initialResponse base64 as it was sent, `"="` for an empty one; null when there was none
     */
    smtpAuth?(mechanism: string, initialResponse: string | null): SmtpReply;
    /** QUIT. Whatever the code, the connection is closed after it. No opinion: 221. */
    smtpQuit?(): SmtpOpinion;

    /**
     * A Received header for the running message (RFC 5321 §4.4), with the client's verified host name. Waits.
     * @param id default: the session's identifier
     * @param recipient for the "for" clause; give it only where there is one recipient
     */
    receivedHeader(id?: string | null, recipient?: string | SmtpPath | null): SmtpHeader;

    /** Whatever a policy adds. */
    [own: string]: any;
}

/** `SmtpServer` itself. A class that extends it may take its place: `SmtpServer = MyServer;`. */
interface SmtpServerConstructor {
    /** Made by the program, never by a policy. */
    new (remoteAddr: string, remotePort: number): SmtpServer;
    /** The handlers: assign functions to its properties. */
    prototype: SmtpServer;
    /** Where to listen, unless `--listen` says otherwise: `[['127.0.0.1', 8025], ['::1', 8025], 'unix:/run/x']`.
     * `tls:` or `proxy:` before an address: connections begin with TLS, with a PROXY header. */
    listenAddress: Array<[address: string, port: number | string] | string>;
    /** Log the dialogue with clients and next hops, at severity info. */
    debugProtocol: boolean;
    /** Limits of this policy; `--limit` on the command line goes before them. */
    limits: SmtpLimits;
    /** Timeouts of this policy in seconds (or `'5m'`); `--timeout` on the command line goes before them. */
    timeouts: SmtpTimeouts;
    /** What `extensions()` says of AUTH; default `['PLAIN', 'LOGIN']`. */
    authMechanisms?: string[];
}
declare var SmtpServer: SmtpServerConstructor;

/** TLS with a client: what the handshake agreed on, and who showed a certificate. */
interface SmtpTls {
    /** `"TLSv1.3"` or `"TLSv1.2"`. */
    version: string | null;
    /** OpenSSL's name, as `"TLS_AES_256_GCM_SHA384"`. */
    cipher: string | null;
    /** Of the cipher's key; null where a proxy has done the TLS. */
    bits: number | null;
    /** The host name that the client asked for. */
    sni: string | null;
    /** Of the client's certificate, as `"CN=mx.example.org, O=Example"`; null without one. */
    subject: string | null;
    /** SHA-256 of the certificate in hexadecimal, without colons. */
    fingerprint: string | null;
    /** Whether the certificate was signed by one of the CAs of `--tls-client-ca`. */
    verified: boolean;
    /** Whether an earlier TLS session was resumed. */
    resumed: boolean;
}

/** Limits by name. A number, or a text such as `'64k'`, `'50m'`, `'1g'`. */
interface SmtpLimits {
    /** Octets of a command line with its CR LF (500). Default 2048. */
    line_bytes?: number | string;
    /** The same of AUTH and of the client's answers to challenges (500). Default 12288. */
    auth_line_bytes?: number | string;
    /** Recipients of one transaction (452). Default 1000. */
    recipients?: number | string;
    /** Octets of a message, announced with SIZE (552). Default 50 MiB. */
    message_bytes?: number | string;
    /** Octets of a header section (552). Default 256 KiB. */
    header_bytes?: number | string;
    /** Fields of a header section (552). Default 1000. */
    header_fields?: number | string;
    /** Bad commands that are answered; the next one is 421. Default 20. */
    errors?: number | string;
    /** Input that is kept while a handler decides; beyond it the socket is not read. Default 64 KiB. */
    pending_bytes?: number | string;
    /** Octets of a PROXY header; beyond it the connection is closed. Default 4096. */
    proxy_bytes?: number | string;
    /** Sessions at one time in one worker (421). Default 2000. */
    connections?: number | string;
    /** Octets of a body that stay in memory in any case. Default 256 KiB. */
    spool_memory_bytes?: number | string;
    /** Octets of memory that the larger bodies of one worker share, before they go to temporary files. Default 64 MiB. */
    spool_shared_bytes?: number | string;
    /** Octets of JavaScript memory of a session (451, or 421 when it cannot go on). Default 8 MiB. */
    heap_bytes?: number | string;
    /** Milliseconds of CPU that JavaScript takes without waiting (421). Default 50. */
    slice_ms?: number | string;
    /** Milliseconds in the JavaScript of a whole session (421). Default 2000. */
    session_ms?: number | string;
    /** What the handlers of a whole session may ask of the program (451). Default 20000. */
    operations?: number | string;
    /** How much of that may be under way at one time by `Sys.all` (451). Default 100. */
    operations_at_once?: number | string;
    /** Answers of the DNS that one worker keeps. Default 20000. */
    dns_cache_entries?: number | string;
    /** Look-ups that one worker has under way at one time; the next one is "unavailable". Default 10000. */
    dns_in_flight?: number | string;
    /** Sessions of one address at one time, over all workers; 0: any number (421). Default 100. */
    address_connections?: number | string;
    /** Sessions of one network at one time, over all workers; 0: any number (421). Default 200. */
    network_connections?: number | string;
    /** New connections in a minute; 0: any number (421). Default 0. */
    connection_rate?: number | string;
    /** New connections of one address in a minute; 0: any number (421). Default 3000. */
    address_rate?: number | string;
    /** New connections of one network in a minute; 0: any number (421). Default 6000. */
    network_rate?: number | string;
    /** The bits of an IPv4 address that are its network. Default 32. */
    ipv4_prefix?: number | string;
    /** The bits of an IPv6 address that are its network. Default 64. */
    ipv6_prefix?: number | string;
    /** Milliseconds by which the event loop may be late before clients are turned away; 0: any (421). Default 500. */
    lag_ms?: number | string;
    /** Memory that must be left for clients to be let in; 0: any (421). Default 64 MiB. */
    free_memory_bytes?: number | string;
    /** Commands of one session; 0: any number (421). Default 100000. */
    commands?: number | string;
    /** Accepted transactions of one session; 0: any number (421). Default 1000. */
    transactions?: number | string;
    /** Accepted recipients of one session; 0: any number (421). Default 50000. */
    session_recipients?: number | string;
    /** Octets that a client may send in one session; 0: any number (421). Default 10240 MiB. */
    session_bytes?: number | string;
    /** Octets a second that a message has to come with at least; 0: any number (421). Default 100. */
    data_rate?: number | string;
    /** Octets that a client may send before a delayed greeting (554). Default 0. */
    early_bytes?: number | string;
    /** Commands of other protocols that are answered like unknown ones; the next one ends the session (521). Default 0. */
    foreign_commands?: number | string;
    /** Commands that may be sent behind one which must be waited for (RFC 2920); the next one ends the session (421). Default 1000. */
    pipelined_commands?: number | string;
    /** Sessions of one worker that `tarpit()` and `pause()` keep waiting; further ones do not wait. Default 1000. */
    tarpits?: number | string;
    /** Connections to next hops that one worker keeps for other sessions. Default 32. */
    kept_connections?: number | string;
    /** Octets that a quarantine holds; 0 for any amount. Default 1073741824. */
    quarantine_bytes?: number | string;
    /** Messages that it holds; 0 for any number. Default 10000. */
    quarantine_messages?: number | string;
    /** How old, in days, messages get there; 0: they stay. Default 30. */
    quarantine_days?: number | string;
    /** For one listener: `'recipients@:587'`, `'address_connections@127.0.0.1:25'`. */
    [ofListener: `${string}@${string}`]: number | string;
}

/** Timeouts by name. Seconds, or a text such as `'500ms'`, `'30s'`, `'5m'`. */
interface SmtpTimeouts {
    /** Until a PROXY header is complete, on listeners where one comes first. Default 5. */
    proxy_header?: number | string;
    /** One TLS handshake with a client. Default 30. */
    tls_handshake?: number | string;
    /** A client is kept waiting so long for its greeting; one that talks meanwhile is sent away (554). Default 0. */
    greeting_delay?: number | string;
    /** Until the client's next command has come whole. Default 300. */
    command?: number | string;
    /** Until the client's next piece of a message; until the next hop takes more of one. Default 180. */
    data_block?: number | string;
    /** From MAIL to the end of the message. Default 7200. */
    transaction?: number | string;
    /** The whole session. Default 14400. */
    session?: number | string;
    /** One handler, all its waits together. Default 270. */
    handler?: number | string;
    /** The same for `smtpData` (and `smtpBody`). Default 570. */
    message_handler?: number | string;
    /** Until a next hop has taken the connection. Default 30. */
    connect?: number | string;
    /** Until a next hop's greeting. Default 300. */
    greeting?: number | string;
    /** Until a next hop's reply to HELO, EHLO, LHLO and to commands that are not named here. Default 300. */
    hello?: number | string;
    /** Until a next hop's reply to MAIL. Default 300. */
    mail?: number | string;
    /** Until a next hop's reply to RCPT. Default 300. */
    rcpt?: number | string;
    /** Until a next hop's reply to DATA. Default 120. */
    data?: number | string;
    /** Until a next hop's reply to the message. Default 600. */
    data_end?: number | string;
    /** Until a next hop's reply to RSET. Default 20. */
    reset?: number | string;
    /** Until a next hop's reply to QUIT. Default 20. */
    quit?: number | string;
    /** How long a connection to a next hop is kept for another session. Default 10. */
    kept_connection?: number | string;
    /** One look-up in the DNS, with all its tries. Default 5. */
    dns?: number | string;
    /** The answer to a statement of SQL. Default 10. */
    sql?: number | string;
    /** The answer of a store. Default 2. */
    store?: number | string;
    /** The answer of an HTTP server, with all redirects. Default 10. */
    http?: number | string;
    /** clamd's verdict. Default 60. */
    clamav?: number | string;
    /** spamd's verdict. Default 60. */
    spamassassin?: number | string;
    /** The verdict of Rspamd. Default 30. */
    rspamd?: number | string;
    /** All that a milter says to one message. Default 60. */
    milter?: number | string;
    /** After so long without anything to do, a session's JavaScript memory is given back until the client speaks. Default 3. */
    idle_heap?: number | string;
    /** What running transactions get after SIGTERM. Default 30. */
    shutdown?: number | string;
    /** For one listener: `'command@:587'`. */
    [ofListener: `${string}@${string}`]: number | string;
}

/** A connection to a next hop: the mail server behind, or any other that speaks SMTP. */
declare class SmtpClient {
    /**
     * @param host name, IPv4 or IPv6 address, or `"unix:/path"`
     * @param port default 25
     */
    constructor(host: string, port?: number | null, options?: SmtpClientOptions | null);
    /** Where `connect()` goes. */
    host: string;
    /** And to which port. */
    port: number;
    /** What the constructor was given; heeded when the connection is opened. */
    options: SmtpClientOptions;
    /** Facts about the connection's TLS; null without. */
    tls: SmtpTls | null;
    /**
     * Connects; every address of the host is tried. The greeting is read by `readResponse()`. Waits.
     * @throws Error "Link has been severed: ..." when no address answers in time
     */
    connect(): void;
    /**
     * Connects and gives the greeting: `connect()` and `readResponse()` as one. Waits.
     * @throws Error as these do; there is no connection then
     */
    greeting(): SmtpReceivedResponse;
    /**
     * The next reply. Waits.
     * @throws Error "Input/output error: ..." (connection lost), "Protocol error: ..." (not SMTP), "Connection timed
     *     out: ..."; the connection is closed then
     */
    readResponse(): SmtpReceivedResponse;
    /**
     * Sends a command. Read its reply with `readResponse()`.
     * @param args undefined or null: none
     * @throws Error for a line break or NUL in it, or a command that is not possible now
     */
    sendCommand(verb: string, args?: string | null): void;
    /**
     * Sends a command and gives the next reply: `sendCommand()` and `readResponse()` as one, at less cost. Waits.
     * @param args undefined or null: none
     * @throws Error as these do
     */
    exchange(verb: string, args?: string | null): SmtpReceivedResponse;
    /**
     * Sends a message and its final dot, after the reply 354 to DATA. It reads no reply. Waits.
     * @param headers those of `smtpData`, changed or not; strings are whole header fields
     * @param body that of `smtpData`, or a text
     * @throws Error when no message is expected, a header cannot be written, or the connection is lost
     */
    sendMessage(headers: Array<SmtpHeader | string> | null, body: SmtpBody | string | null): void;
    /**
     * Sends a message by BDAT (RFC 3030), without DATA before it. It reads no reply. Waits.
     * @throws Error as sendMessage, and when CHUNKING is not offered
     */
    sendChunks(headers: Array<SmtpHeader | string> | null, body: SmtpBody | string | null): void;
    /** Reads what the next hop says to a message: one reply, or (LMTP, PRDR) one for each accepted recipient. Waits. */
    readMessageResponse(): SmtpMessageResponse;
    /**
     * Sends a message after the reply 354 to DATA, and reads the reply: `sendMessage()` and `readMessageResponse()` as one. Waits.
     * @throws Error as these do
     */
    exchangeMessage(headers: Array<SmtpHeader | string> | null, body: SmtpBody | string | null): SmtpMessageResponse;
    /** EHLO (with LMTP LHLO) and its reply. Waits. @param name default `SmtpServer.prototype.hostname` */
    ehlo(name?: string): SmtpHelloResponse;
    /** The parameters of an extension that the next hop offers, `""` for none; null when it does not offer it. */
    offers(keyword: string): string | null;
    /**
     * STARTTLS, if it is to be; say `ehlo()` again after it. Waits.
     * @returns null when nothing was said: the mode is off, or it is opportunistic and not offered
     * @throws Error when TLS must be and cannot, or when the handshake fails (the connection is closed then)
     */
    startTls(options?: SmtpTlsMode | SmtpTlsOptions | null): SmtpReceivedResponse | null;
    /**
     * Proves who we are, by PLAIN, LOGIN, CRAM-MD5, SCRAM-SHA-1, SCRAM-SHA-256, XOAUTH2 or OAUTHBEARER. Waits.
     * @param secret password or token
     * @param options `clear: true` lets the secret itself go without TLS
     */
    auth(mechanism: string, user: string, secret: string, options?: { clear?: boolean }): SmtpReceivedResponse;
    /** Passes a client's AUTH on. 334 is a challenge for the client, whose line goes to `relayAuthLine`. Waits. */
    relayAuth(mechanism: string, initialResponse?: string | null): SmtpReceivedResponse;
    /** Passes a client's answer to a challenge on: base64, or `"*"`. Waits. */
    relayAuthLine(line: string): SmtpReceivedResponse;
    /** What XCLIENT and XFORWARD may tell of a session's client: NAME, ADDR, PORT, PROTO, HELO, IDENT, SOURCE. Waits. */
    static about(server: SmtpServer, helo?: string | null): { [name: string]: string | number | null };
    /** Tells the next hop who the client is; say `ehlo()` again after it. Waits. @returns null when it knows none of these */
    xclient(attributes: { [name: string]: string | number | null }): SmtpReceivedResponse | null;
    /** The same for the next hop's log, before each MAIL. Waits. */
    xforward(attributes: { [name: string]: string | number | null }): SmtpReceivedResponse | null;
    /**
     * Everything up to the first MAIL: connection, greeting, EHLO (or HELO), TLS, XCLIENT, AUTH. Waits.
     * @returns the reply to EHLO, or the one that refused; the connection is closed then
     */
    open(options?: SmtpOpenOptions): SmtpReceivedResponse;
    /** What `open()` does after the greeting. Waits. */
    hello(options?: SmtpOpenOptions): SmtpReceivedResponse;
    /** MAIL with those parameters that are offered; SMTPUTF8, REQUIRETLS and BINARYMIME are refused where they are not. Waits. */
    mail(path: SmtpPath): SmtpResponse;
    /** RCPT with those parameters that are offered. Waits. */
    rcpt(path: SmtpPath): SmtpResponse;
    /** Sends a message after its envelope, by DATA or BDAT, and reads the reply. Waits. */
    transfer(headers: Array<SmtpHeader | string> | null, body: SmtpBody | string | null): SmtpMessageResponse;
    /** Whether `transfer()` would send this body by BDAT. */
    prefersChunks(body?: SmtpBody | string | null): boolean;
    /** QUIT and its reply; closes. Never throws. Waits. */
    quit(): SmtpReceivedResponse | null;
    /** Gives the connection to another session of this process; see `reuse` of `open()`. Never throws. */
    release(): boolean;
    /** Closes the connection without QUIT. Harmless when there is none. */
    disconnect(): void;
}

/** How a connection to a next hop is made. */
interface SmtpClientOptions {
    /** It speaks LMTP (RFC 2033): LHLO, and a reply to a message for each recipient. */
    lmtp?: boolean;
    /** Our own address, or address and port. */
    sourceAddress?: string | [address: string, port: number];
    /** Timeouts of this connection; those of the policy by default. */
    timeouts?: SmtpTimeouts;
    /** Send a header of the PROXY protocol first, of this version: who the client is. */
    proxyProtocol?: number;
    /** The client in that header, where it is not the session's own. */
    proxySource?: [address: string, port: number];
    /** What that client has connected to. */
    proxyDestination?: [address: string, port: number];
}

/** What TLS to a next hop shall be. */
type SmtpTlsMode = 'off' | 'opportunistic' | 'required' | 'verified' | (string & {});

/** The same with all that may be asked of a certificate. */
interface SmtpTlsOptions {
    /** Default: opportunistic. */
    mode?: SmtpTlsMode;
    /** File or folder of CA certificates, with mode verified; the system's by default. */
    ca?: string | null;
    /** What the certificate must name; the host by default. */
    name?: string | null;
    /** SHA-256 of certificates in hexadecimal, with mode verified. */
    fingerprint?: string | string[] | null;
}

/** What `open()` and `hello()` do besides EHLO. */
interface SmtpOpenOptions {
    /** Our own name in EHLO; default `SmtpServer.prototype.hostname`. */
    name?: string;
    /** Default: off. */
    tls?: SmtpTlsMode | SmtpTlsOptions;
    /** Attributes of XCLIENT; an error when it is not offered. The name in EHLO after it is its HELO. */
    xclient?: { [name: string]: string | number | null } | null;
    /** Arguments of `auth()`. */
    auth?: [mechanism: string, user: string, secret: string, options?: { clear?: boolean }];
    /** Take a connection that another session has released, and let this one be released. */
    reuse?: boolean;
}

/** The reply to EHLO. */
interface SmtpHelloResponse extends SmtpReceivedResponse {
    /** Parameters by keyword in capitals; `""` for none. */
    extensions: { [keyword: string]: string };
}

/** What a next hop says to a message. */
interface SmtpMessageResponse extends SmtpResponse {
    /** A reply for each accepted recipient in their order, where the next hop gives them (LMTP, PRDR). */
    recipients?: SmtpResponse[];
}

/**
 * One transaction whose recipients go to different next hops:
 *
 *     this.routes = new SmtpRoutes();
 *     ... return this.routes.mail(path);
 *     ... return this.routes.rcpt(path, this.clientFor(path));
 *     ... return this.routes.transfer(headers, body);
 */
declare class SmtpRoutes {
    /**
     * @param options.disagree "defer" (default): recipients of another next hop are told 451 and come again by themselves;
     *     "refuse": the first refusal is the reply for all; "each": a reply for each recipient, where the client wants it
     */
    constructor(options?: { disagree?: 'defer' | 'refuse' | 'each' });
    /** What is done when next hops disagree. */
    disagree: string;
    /** The sender of the running transaction. */
    sender: SmtpPath | null;
    /** Each next hop that was told MAIL, and which of the accepted recipients are its. */
    routes: Array<{ client: SmtpClient, places: number[] }>;
    /** How many recipients were accepted. */
    count: number;
    /** A transaction begins. */
    mail(path: SmtpPath): SmtpResponse;
    /** Gives a recipient to its next hop, which has said hello already. Waits. */
    rcpt(path: SmtpPath, client: SmtpClient): SmtpResponse;
    /** The message goes to all of them; the transaction is over. Waits. */
    transfer(headers: Array<SmtpHeader | string> | null, body: SmtpBody | string | null): SmtpMessageResponse;
    /** Takes one next hop out of its transaction. Waits. */
    forget(route: { client: SmtpClient, places: number[] }): void;
    /** Ends the transaction without a message. Waits. */
    reset(): void;
}

/** The address of a sender or recipient (RFC 5321 §4.1.2) with its parameters. */
declare class SmtpPath {
    /** An empty path; fill it with `parse()`. */
    constructor();
    /** The source route, without "@": obsolete, nearly always empty. */
    domains: string[];
    /** Both null for the null path `<>`; `domain` null for `<postmaster>`. `local` has the client's spelling, quotes too. */
    mailbox: { local: string | null; domain: string | null };
    /** ESMTP parameters by upper-case keyword; `true` for one without a value. */
    params: { [keyword: string]: string | true };
    /**
     * Takes a text apart. On success `domains` and `mailbox` are replaced and `params` is emptied.
     * @returns what follows the path in the text; null when there is no path (nothing is changed then)
     */
    parse(text: string): string | null;
    /** The path in angle brackets, without parameters. */
    toString(): string;
    /**
     * The parameters as they follow the path in a command: `" SIZE=100 BODY=8BITMIME"`, or `""`.
     * @param only keywords to keep, in upper case; default all
     */
    parameters(only?: string[]): string;
}

/**
 * A header field (RFC 5322 §2.2). One that came with the message and is not changed goes out as the very bytes that
 * came in; a changed or new one is written from `name` and `parts`.
 */
declare class SmtpHeader {
    /** @param value an array becomes `parts` itself; without a value there are no parts */
    constructor(name: string, value?: string | string[] | null);
    /** `""` for a line of the header section that is no header field. */
    name: string;
    /** The value line by line as it is folded. `parts[0]` has no leading blanks, the others keep theirs. */
    parts: string[];
    /** The parts, each without leading blanks, joined by one space. */
    getValue(): string;
    /** Name, `": "`, and the parts joined by CR LF; no CR LF at the end. */
    toString(): string;
    /** Folds the value anew: no line longer than `width` where a blank allows it. Default 78. */
    refold(width?: number): void;
    /** The value in one line, encoded words (RFC 2047) decoded: as it is meant to be read. */
    decoded(): string;
}

/** What all scanners take. */
interface ScannerOptions {
    /** Seconds for one answer; by default the timeout of its name. */
    timeout?: number;
    /** What happens when it is away. Default `'tempfail'`: the client is asked to come again. */
    away?: 'tempfail' | 'accept' | 'throw';
}

/** Viruses, found by ClamAV's clamd. */
declare class ClamAV {
    /** @param host a name, an address, or `"unix:/path"` @param port default 3310 */
    constructor(host: string, port?: number | null, options?: ScannerOptions);
    /** Where clamd is. */
    host: string;
    /** And at which port. */
    port: number;
    /** Octets; larger messages are not sent. Default 104857600. */
    MAX_MESSAGE_LEN: number;
    /** Has a message scanned as it would leave. Null: too big, or clamd is away and that is accepted. Waits. */
    scan(headers: Array<SmtpHeader | string> | null, body: SmtpBody | string | null): ClamAVVerdict | null;
}

/** What clamd says. */
interface ClamAVVerdict {
    /** As `"ClamAV 1.4.6"`. */
    progver: string;
    /** Version of its signatures; 0 when it has none to tell. */
    dbver: number;
    /** Their date, or `""`. */
    dbdate: string;
    /** Whether something was found. */
    found: boolean;
    /** What was found. */
    name?: string;
}

/** How much a message looks like spam, by SpamAssassin's spamd. */
declare class SpamAssassin {
    /** @param host a name, an address, or `"unix:/path"` @param port default 783 @param user whose preferences count; default `Sys.user` */
    constructor(host: string, port?: number | null, user?: string | null, options?: ScannerOptions);
    /** Where spamd is. */
    host: string;
    /** And at which port. */
    port: number;
    /** Whose preferences count. */
    user: string;
    /** Octets; larger messages are not sent. Default 2097152. */
    MAX_MESSAGE_LEN: number;
    /** Has a message judged as it would leave. Null: too big, or spamd is away and that is accepted. Waits. */
    scan(headers: Array<SmtpHeader | string> | null, body: SmtpBody | string | null): SpamAssassinVerdict | null;
    /** Has a message marked as spamd's configuration says; gives the message as it is then. Null as with `scan`. Waits. */
    modify(headers: Array<SmtpHeader | string> | null, body: SmtpBody | string | null):
        { spam: boolean, score: number, required: number, headers: SmtpHeader[], body: SmtpBody } | null;
}

/** What spamd says. Those marked with `?` are there with the report of six lines, `tests` always (then not enumerable). */
interface SpamAssassinVerdict {
    /** Whether it takes the message for spam. */
    spam: boolean;
    /** The sum of all tests. */
    score: number;
    /** From here on it is spam. */
    required: number;
    /** The tests that hit. */
    tests: Array<{ name: string, score: number, description: string }>;
    /** The report, as spamd wrote it. */
    report: string;
    /** spamd's host. */
    hostname?: string;
    /** SpamAssassin's version. */
    version?: string;
    /** And what follows it. */
    subversion?: string;
    /** Version of the rules. */
    rulesversion?: string;
    /** Probability that it is spam, 0 to 1. */
    bayes?: number;
    /** `NAME=score,...` */
    testsscores?: string;
}

/** What Rspamd would do with a message. */
declare class Rspamd {
    /** @param host a name, an address, or `"unix:/path"` @param port default 11333 */
    constructor(host: string, port?: number | null, options?: RspamdOptions);
    /** Where it is. */
    host: string;
    /** And at which port. */
    port: number;
    /** Octets; larger messages are not sent. Default 52428800. */
    MAX_MESSAGE_LEN: number;
    /** Has a message judged as it would leave; it is told envelope, TLS and who is authenticated. Null: too big, or away. Waits. */
    check(server: SmtpServer, headers: Array<SmtpHeader | string> | null, body: SmtpBody | string | null): RspamdVerdict | null;
}

/** How Rspamd is asked. */
interface RspamdOptions extends ScannerOptions {
    /** Of its worker. */
    password?: string;
    /** Settings for this policy, as its protocol has them: scores, actions, groups. */
    settings?: { [name: string]: any };
    /** Settings that Rspamd has, by their name. */
    settingsId?: string;
    /** Flags of its protocol. */
    flags?: string[];
    /** More headers for its request. */
    headers?: { [name: string]: string };
    /** Asks by TLS; `ca`: a file of authorities; `verify: false`: any certificate; `name`: what it must name, the host by default. */
    tls?: boolean | { ca?: string, verify?: boolean, name?: string };
    /** Whether a message that Rspamd has changed is wanted back. */
    rewrite?: boolean;
}

/** What Rspamd says. */
interface RspamdVerdict {
    /** The message as Rspamd has changed it, where the option `rewrite` asked for that and it has changed something. */
    rewritten: { headers: SmtpHeader[], body: SmtpBody } | null;
    /** `no action`, `greylist`, `add header`, `rewrite subject`, `soft reject`, `reject`, or one of its configuration's. */
    action: string;
    /** The sum of all symbols. */
    score: number;
    /** What is rejected has this score. */
    required: number;
    /** Whether it did not look. */
    skipped: boolean;
    /** The symbols that hit. */
    symbols: { [name: string]: { score: number, description: string, options: string[] } };
    /** URLs in the message. */
    urls: string[];
    /** Addresses in the message. */
    emails: string[];
    /** Texts for replies, as `smtp_message`. */
    messages: { [name: string]: string };
    /** The subject it would give the message. */
    subject: string | null;
    /** Values of DKIM-Signature fields it has made. */
    dkim: string[];
    /** Headers to add: name, value, place (-1: at the end). */
    add: Array<[name: string, value: string, place: number]>;
    /** Headers to remove: name, and which one (0: all). */
    remove: Array<[name: string, place: number]>;
    /** Recipients to add. */
    addRecipients: string[];
    /** Recipients to remove. */
    removeRecipients: string[];
    /** Another sender. */
    sender: string | null;
    /** What its milter headers say instead of the action. */
    reject: string | null;
    /** Makes its changes in the headers: removes, adds, subject, DKIM-Signature. */
    apply(headers: SmtpHeader[]): void;
}

/** A filter that speaks libmilter's protocol. */
declare class Milter {
    /** @param host a name, an address, or `"unix:/path"` @param port default 8891 @param options `macros`: more of them by name */
    constructor(host: string, port?: number | null, options?: ScannerOptions & { macros?: { [name: string]: string } });
    /** Where it is. */
    host: string;
    /** And at which port. */
    port: number;
    /** Octets; larger messages are not sent. Default 52428800. */
    MAX_MESSAGE_LEN: number;
    /** Shows it a message as it would leave, with what it may know of the session. Null: too big, or away and that is accepted. Waits. */
    check(server: SmtpServer, headers: Array<SmtpHeader | string> | null, body: SmtpBody | string | null): MilterOutcome | null;
}

/** What a milter has said to a message. */
interface MilterOutcome {
    /** What is to become of it. */
    action: 'accept' | 'reject' | 'tempfail' | 'discard';
    /** The reply for `reject` and `tempfail`; else null. */
    reply: SmtpResponse | null;
    /** Why it should be held. */
    quarantine: string | null;
    /** Recipients that it refuses. */
    refused: Array<{ recipient: SmtpPath, reply: SmtpResponse }>;
    /** Recipients to add, with their brackets. */
    addRecipients: string[];
    /** Recipients to remove. */
    removeRecipients: string[];
    /** Another sender. */
    sender: string | null;
    /** The new body, or the one that was given. */
    body: any;
    /** Makes its changes in the headers. */
    apply(headers: SmtpHeader[]): void;
}

/** The body of the message that `smtpData` is about. It is kept by the program and is gone when `smtpData` has ended. */
interface SmtpBody {
    /** Octets, line ends included, the sender's dots removed. */
    readonly length: number;
    /** A label for logs, not the content: `"body of 1234 bytes"`. */
    toString(): string;
    /**
     * A stretch of it as text. Octets that are not UTF-8 become U+DC80 to U+DCFF, one for each.
     * @param offset octets from the beginning; default 0
     * @param count octets at most; default and limit 1048576
     */
    read(offset?: number, count?: number): string;
    /** The body as text, as it stands: nothing is decoded. @param limit octets; default 1048576 */
    text(limit?: number): string;
    /** The lines of `text(limit)`, without their ends. */
    lines(limit?: number): string[];
    /**
     * Its MIME parts, in the order in which they begin; the message itself is the first. The same ones each time. Waits.
     * @param headers the header that tells how it is made, where that is not the one that came
     */
    parts(headers?: Array<SmtpHeader | string> | null): SmtpParts;
    /** The parts that are files rather than something to be read. Waits. */
    attachments(): SmtpPart[];
    /** The links in its text parts, as they are written, each once. Waits. @param limit default 100, at most 1000 */
    links(limit?: number): string[];
    /** Looks for a pattern in the text parts, piece by piece; null without a match. Waits. */
    search(pattern: RegExp): { part: SmtpPart, match: RegExpExecArray } | null;
    /**
     * A body in which the parts marked by `replace()` and `remove()` are changed, and all else is as it came. Waits.
     * @param headers those of the message; of one without parts, the fields about its content are changed in it
     */
    edited(headers: SmtpHeader[]): SmtpBody;
}

/** The parts of a message. */
interface SmtpParts extends Array<SmtpPart> {
    /** What is odd about them, in words: `"a multipart has no end"`. */
    readonly problems: string[];
}

/** One part of a message (RFC 2045). The message itself is one, too. */
interface SmtpPart {
    /** Its place among `body.parts()`. */
    number: number;
    /** As `"1.2"`: the second part of the first one; `""` for the message. */
    path: string;
    /** The part around it; null for the message. */
    parent: SmtpPart | null;
    /** Media type in lower case: `"text/plain"`. */
    type: string;
    /** The character set that it names. */
    charset: string | null;
    /** Content-Transfer-Encoding in lower case; `""` for none. */
    encoding: string;
    /** `"attachment"`, `"inline"`, …, in lower case. */
    disposition: string | null;
    /** The file's name, decoded (RFC 2231, RFC 2047). A stranger's text. */
    name: string | null;
    /** Content-ID. */
    id: string | null;
    /** Octets of its content as it stands, encoded. */
    length: number;
    /** Whether no parts are in it. */
    leaf: boolean;
    /** Whether it is a file: it has a name, is called an attachment, or is no text. */
    attachment: boolean;
    /** What is behind the last dot of its name, in lower case; blanks and dots at the end do not count. */
    readonly extension: string;
    /** Its own header; empty for the message, whose header `smtpData` has. */
    headers(): SmtpHeader[];
    /** Octets of its decoded content, as `SmtpBody.read` gives them. Waits. */
    read(offset?: number, count?: number): string;
    /** Its decoded content as text. Waits. @param limit characters; default and most 1048576 */
    text(limit?: number): string;
    /** The media type that its content begins like, whatever it is called; null when that is not known. */
    magic(): string | null;
    /** Looks for a pattern in its text, in pieces of 32768 characters. Waits. */
    search(pattern: RegExp): RegExpExecArray | null;
    /** Marks it to get another content, by `edited()`. @param options the new media type and file name */
    replace(content: string, options?: { type?: string, name?: string }): void;
    /** Marks it to be taken away, by `edited()`. */
    remove(): void;
}

/** A local mailbox in the Maildir format. */
declare class Maildir {
    /** @param path its folder; made when it is not there (the folder above it must be) */
    constructor(path: string);
    /** The folder. */
    path: string;
    /**
     * Delivers a message. When this returns, it is safely on disk. Waits.
     * @param folder a subfolder as Maildir++ has them, `"Junk"` or `"Archive.2026"`; made when it is not there
     * @returns the name of the new file
     * @throws Error when it cannot be written
     */
    deliver(headers: Array<SmtpHeader | string> | null, body: SmtpBody | string | null, folder?: string | null): string;
}

/** Messages that are held back until somebody releases or deletes them. */
declare class Quarantine {
    /** @param directory where they are kept; made when it is not there. Default: the setting `quarantineDirectory` */
    constructor(directory?: string);
    /** Where they are kept. */
    directory: string;
    /**
     * Holds a message back, with its envelope. When this returns, it is safely on disk; the recipients have not got it. A Received
     * header is put on top unless the policy has added one. Waits.
     * @param server `this` of the handler
     * @returns what it is called
     * @throws Error when it cannot be written
     */
    hold(server: SmtpServer, headers: Array<SmtpHeader | string> | null, body: SmtpBody | string | null,
        options?: QuarantineOptions): string;
}

/** Why a message is held, and for whom. */
interface QuarantineOptions {
    /** In words. */
    reason?: string;
    /** How bad it is. */
    score?: number | null;
    /** What was found: texts, objects with a name and a score, or names with what was found about them. */
    symbols?: Array<string | { name: string, score?: number }> | { [name: string]: any } | null;
    /** When it is not held for all recipients. */
    recipients?: Array<SmtpPath | string>;
}

/** What happens when a service outside is away: the client is asked to come again, the policy goes on without it, an error. */
type Away = 'tempfail' | 'accept' | 'throw';

/** Options of everything that asks a service outside. */
interface ServiceOptions {
    /** How long to wait for each answer, in seconds. */
    timeout?: number;
    /** What happens when it cannot be asked, or does not answer. Default: `tempfail`. */
    away?: Away;
}

/** A parameter of a statement. */
type SqlValue = null | undefined | boolean | number | string | Date | Uint8Array | ArrayBuffer | SqlValue[];

/** A statement that the database has refused. */
interface SqlError extends Error {
    /** What it is. */
    name: 'SqlError';
    /** SQLSTATE, five characters. */
    sqlState: string;
    /** The same. */
    code: string;
}

/** What a statement has changed. */
interface SqlChange {
    /** Rows; -1 where the database does not say. */
    count: number;
    /** The number that SQLite or MySQL has given to the last new row. */
    key: number | string | null;
}

/** A database inside a transaction. */
interface SqlTransaction {
    /** What the log calls the database. */
    name: string;
    /** Seconds for each statement, 0 for the timeout `sql`. */
    seconds: number;
    /** What happens when it is away. */
    away: Away;
    /** Asks: an object for each row. Waits. */
    query(text: string, values?: SqlValue[]): Array<Record<string, any>>;
    /** Changes something. Waits. */
    execute(text: string, values?: SqlValue[]): SqlChange;
}

/** A database, by `Sql.connect`. With `away: 'accept'` its methods give null when it is away. */
interface SqlDatabase {
    /** What the log calls it. */
    name: string;
    /** Seconds for each statement, 0 for the timeout `sql`. */
    seconds: number;
    /** What happens when it is away. */
    away: Away;
    /** Asks: an object for each row. Waits. @param text with a question mark for each of the values */
    query(text: string, values?: SqlValue[]): Array<Record<string, any>>;
    /** Changes something. Waits. */
    execute(text: string, values?: SqlValue[]): SqlChange;
    /** Does several things or none: commits when `work` returns, rolls back when it throws. Waits. */
    transaction<T>(work: (tx: SqlTransaction) => T): T;
}

/** Databases: SQLite, PostgreSQL, MySQL and MariaDB. */
declare namespace Sql {
    /**
     * A database by its URL; nothing is connected before something is asked.
     * @param url `sqlite:/path/of/file`, `postgresql://user:password@host/database`, `mysql://user:password@host/database`
     * @throws Error when the URL is none, or its driver is not installed
     */
    function connect(url: string, options?: ServiceOptions): SqlDatabase;
}

/** A driver of a policy's own for `DriverManager`. */
interface SqlDriver {
    /** Whether it takes a URL. */
    acceptsURL(url: string): boolean;
    /** A connection; null when the URL is not this driver's. */
    connect(url: string, info: object): any;
}

/** Databases as the predecessor's policies ask them, in the manner of JDBC. */
declare namespace DriverManager {
    /** A connection. @param info user and password, and options; or the user */
    function getConnection(url: string, info?: { user?: string; password?: string } & ServiceOptions | string, password?: string): Connection;
    /** The driver that takes a URL. */
    function getDriver(url: string): SqlDriver;
    /** Adds a driver; it goes before ours. */
    function registerDriver(driver: SqlDriver): void;
}

/** Whether the keys that the database makes for new rows are wanted; for PostgreSQL also the names of their columns. */
type SqlKeys = boolean | number | string[];

/** A connection to a database. Statements are committed one by one unless `setAutoCommit(false)`. */
declare class Connection {
    /** Made by `DriverManager.getConnection`. */
    constructor(url: string, info?: object);
    /** A statement without parameters. */
    createStatement(): Statement;
    /** A statement with parameters. @param sql with a question mark for each */
    prepareStatement(sql: string, keys?: SqlKeys): PreparedStatement;
    /** The same. */
    createPreparedStatement(sql: string, keys?: SqlKeys): PreparedStatement;
    /** Gives it back. */
    nativeSQL(sql: string): string;
    /** false: what follows is committed by `commit()` alone. */
    setAutoCommit(on: boolean): void;
    /** Whether statements are committed one by one. */
    getAutoCommit(): boolean;
    /** Waits. */
    commit(): void;
    /** Waits. */
    rollback(): void;
    /** Rolls back what was not committed. */
    close(): void;
    /** Whether `close()` was called. */
    isClosed(): boolean;
}

/** A statement. */
declare class Statement {
    /** Made by `createStatement`. */
    constructor(connection: Connection);
    /** Keys are not wanted. */
    static NO_GENERATED_KEYS: 0;
    /** Keys are wanted. */
    static RETURN_GENERATED_KEYS: 1;
    /** Whether it gave rows. Waits. */
    execute(sql: string, keys?: SqlKeys): boolean;
    /** Waits. */
    executeQuery(sql: string): ResultSet;
    /** Rows that were changed. Waits. */
    executeUpdate(sql: string, keys?: SqlKeys): number;
    /** The connection it belongs to. */
    getConnection(): Connection;
    /** The keys of the new rows, when they were asked for. */
    getGeneratedKeys(): ResultSet | null;
    /** What the last `execute` gave, when that was rows. */
    getResultSet(): ResultSet | null;
    /** -1 when it gave rows. */
    getUpdateCount(): number;
    /** Lets what it holds go. */
    close(): void;
}

/** A statement with parameters, which are counted from 1; null is NULL. It may be executed again and again. */
declare class PreparedStatement {
    /** Made by `prepareStatement`. */
    constructor(connection: Connection, sql: string, keys?: SqlKeys);
    /** Sets a parameter. */
    setNumber(index: number, value: number | string | null): void;
    /** Sets a parameter. */
    setString(index: number, value: any): void;
    /** Sets a parameter. */
    setBoolean(index: number, value: boolean | null): void;
    /** Sets a parameter. */
    setDate(index: number, value: Date | string | number | null): void;
    /** Sets a parameter. */
    setBytes(index: number, value: Uint8Array | null): void;
    /** Sets a parameter. */
    setObject(index: number, value: SqlValue): void;
    /** Sets a parameter. */
    setNull(index: number): void;
    /** Forgets all parameters. */
    clearParameters(): void;
    /** Whether it gave rows. Waits. */
    execute(): boolean;
    /** Waits. */
    executeQuery(): ResultSet;
    /** Rows that were changed. Waits. */
    executeUpdate(): number;
    /** The connection it belongs to. */
    getConnection(): Connection;
    /** The keys of the new rows, when they were asked for. */
    getGeneratedKeys(): ResultSet | null;
    /** What the last `execute` gave, when that was rows. */
    getResultSet(): ResultSet | null;
    /** -1 when it gave rows. */
    getUpdateCount(): number;
    /** Lets what it holds go. */
    close(): void;
}

/** Rows, before the first one at first. Columns by number from 1, or by name; NULL is null. */
declare class ResultSet {
    /** Made by a statement. */
    constructor(statement: Statement, columns: string[], rows: any[][]);
    /** Whether there is a further row. */
    next(): boolean;
    /** Goes to the first row; whether there is one. */
    first(): boolean;
    /** Goes to the last row; whether there is one. */
    last(): boolean;
    /** A column as a number; NULL is null. */
    getNumber(column: number | string): number | null;
    /** A column as a text; NULL is null. */
    getString(column: number | string): string | null;
    /** A column as a boolean; NULL is null. */
    getBoolean(column: number | string): boolean | null;
    /** A column as a moment; NULL is null. */
    getDate(column: number | string): Date | null;
    /** A column as it is. */
    getBytes(column: number | string): Uint8Array | null;
    /** A column as it is. */
    getObject(column: number | string): any;
    /** Whether the last column that was read was NULL. */
    wasNull(): boolean;
    /** The names of the columns. */
    getColumnNames(): string[];
    /** The statement it comes from. */
    getStatement(): Statement;
    /** Lets what it holds go. */
    close(): void;
}

/** What sessions, workers and machines know together: counters over sliding windows, values that expire, sets. */
declare class Store {
    /** Opened by `Store.open`. */
    constructor(url: string, options?: object);
    /**
     * A store: the one of the setting `store`, else the embedded one of this machine.
     * @param url a path, `redis://host/0`, `rediss://`, `redis+sentinel://host,host/master`, `redis+cluster://host,host`
     * @param options prefix: before every key, default `mailfilter:`
     */
    static open(url?: string | null, options?: ServiceOptions & { prefix?: string }): Store;
    /** The same. */
    static open(options: ServiceOptions & { prefix?: string }): Store;
    /** What the log calls it. */
    name: string;
    /** What stands before every key. */
    prefix: string;
    /** Seconds for each answer, 0 for the timeout `store`. */
    seconds: number;
    /** What happens when it is away. */
    away: Away;
    /** Adds (1) to a counter; how much it has counted within the last `seconds`. Waits. */
    count(key: string, seconds: number, by?: number): number;
    /** Adds to a counter unless that makes more than `most`. Waits. */
    take(key: string, most: number, seconds: number, by?: number): { allowed: boolean; count: number };
    /** What a counter has counted within the last `seconds`. Waits. */
    counted(key: string, seconds: number): number;
    /** A value; null when there is none. Waits. */
    get(key: string): any;
    /** Keeps a value, whatever JSON can write. Waits. */
    set(key: string, value: any, seconds: number): boolean;
    /** Keeps a value unless there is one: null, or the one that is there. Waits. */
    add(key: string, value: any, seconds: number): any;
    /** Forgets a value; whether there was one. Waits. */
    remove(key: string): boolean;
    /** For how many seconds a key has been known; null: it is new. Older than `after` it is kept for `then` from now. Waits. */
    age(key: string, seconds: number, after?: number, then?: number): number | null;
    /** Makes something a member of a set; whether it is new. Waits. */
    include(set: string, member: string, seconds: number): boolean;
    /** Whether something is a member of a set. Waits. */
    has(set: string, member: string): boolean;
    /** Takes a member out of a set; whether it was one. Waits. */
    discard(set: string, member: string): boolean;
    /** Members of a set, at most `limit` (1000). Waits. */
    members(set: string, limit?: number): string[];
}

/** So much of something within some seconds, for each key. */
declare class RateLimit {
    /** @param name goes into the keys: another name, another count */
    constructor(name: string, options: { most: number; seconds?: number; store?: Store });
    /** The network of an address, by so many bits (32, 64). */
    static network(address: string, ipv4?: number, ipv6?: number): string;
    /** What goes into the keys. */
    name: string;
    /** So much is allowed … */
    most: number;
    /** … within so many seconds. */
    seconds: number;
    /** Where it is counted. */
    store: Store;
    /** Takes some (1) when that is not too much. Waits. @returns retryAfter: seconds until it may be allowed, about */
    take(key: string, by?: number): { allowed: boolean; count: number; retryAfter: number };
    /** What was taken within the seconds. Waits. */
    count(key: string): number;
}

/** Options of a `Greylist`. */
interface GreylistOptions {
    /** Seconds until a client may pass. Default 300. */
    delay?: number;
    /** Within so many seconds it must come again. Default: two days. */
    retry?: number;
    /** How long it is known then, in seconds. Default: 36 days. */
    keep?: number;
    /** Bits of an IPv4 address that count. Default 24. */
    ipv4?: number;
    /** Bits of an IPv6 address that count. Default 64. */
    ipv6?: number;
    /** Networks that pass, or something that knows them. */
    allow?: string[] | { has(address: string): boolean };
    /** Whether SPF's pass passes. */
    spf?: boolean;
    /** Lists whose allow-lists pass. */
    allowLists?: Dnsbl | null;
    /** Lists; what they do not list passes. */
    onlyListed?: Dnsbl | null;
    /** After so many that passed, the whole network does. Default 5; 0: never. */
    autoAllow?: number;
    /** Where it is remembered. */
    store?: Store;
}

/** Asks clients that nobody knows to come again. */
declare class Greylist {
    /** All options may be left out. */
    constructor(options?: GreylistOptions);
    /** Seconds until a client may pass. */
    delay: number;
    /** Within so many seconds it must come again. */
    retry: number;
    /** How long it is known then, in seconds. */
    keep: number;
    /** Bits of an IPv4 address that count. */
    ipv4: number;
    /** Bits of an IPv6 address that count. */
    ipv6: number;
    /** Networks that pass. */
    allow: string[] | { has(address: string): boolean };
    /** Whether SPF's pass passes. */
    spf: boolean;
    /** Lists whose allow-lists pass. */
    allowLists: Dnsbl | null;
    /** Lists; what they do not list passes. */
    onlyListed: Dnsbl | null;
    /** After so many that passed, the whole network does. */
    autoAllow: number;
    /** Where it is remembered. */
    store: Store;
    /** Whether a client may deliver now. Waits. @returns wait: seconds until it may pass */
    check(client: { address: string; sender: SmtpPath | string | null; recipient: SmtpPath | string; helo?: string | null }): {
        pass: boolean;
        /** Why. */
        reason: 'new' | 'early' | 'passed' | 'known network' | 'allowed' | 'spf' | 'allow-list' | 'not listed';
        wait: number;
    };
}

/** Options of a request. */
interface HttpOptions extends ServiceOptions {
    /** Header fields. */
    headers?: Record<string, string>;
    /** How many redirects are followed. Default 0, at most 5. */
    redirects?: number;
    /** Octets of the body at most. Default 1 MiB, at most 4 MiB. */
    limit?: number;
    /** Refuse addresses that are not public, for URLs that come from outside. */
    publicOnly?: boolean;
    /** A file with the certificates of the authorities to trust. */
    ca?: string;
    /** false: take any certificate. */
    verify?: boolean;
}

/** What an HTTP server has answered. */
interface HttpAnswer {
    /** As 200. */
    status: number;
    /** The words behind it. */
    reason: string;
    /** Whether the status is one of success (2xx). */
    ok: boolean;
    /** Header fields by their names in small letters. */
    headers: Record<string, string>;
    /** The body. */
    text: string;
    /** Where it came from, after redirects. */
    url: string;
    /** The body as JSON. @throws SyntaxError */
    json(): any;
}

/** Requests to HTTP servers. With `away: 'accept'` they give null when the server is away. */
declare namespace Http {
    /** Asks. Waits. */
    function get(url: string, options?: HttpOptions): HttpAnswer;
    /** Asks, with a body: a string, octets, or anything else as JSON. Waits. */
    function post(url: string, body: any, options?: HttpOptions): HttpAnswer;
    /** Asks by any method. Waits. */
    function request(method: string, url: string, body?: any, options?: HttpOptions): HttpAnswer;
}

/** A map, by `Maps.load`. */
interface MapFile {
    /** Its file. */
    path: string;
    /** What it is. */
    kind: 'cidr' | 'hash' | 'domains' | 'regexp';
    /** What happens when there are no entries to look at yet, because they cannot be read. */
    away: Away;
    /** The value behind an entry, "" where it has none; null where there is no entry. */
    get(key: string): string | null;
    /** Whether there is an entry. */
    has(key: string): boolean;
}

/** Files of networks, keys, domains or regular expressions. */
declare namespace Maps {
    /**
     * A map by the name of its file, at the top level of a policy; its ending says what it is. Read again when it changes.
     * @param name in the policy's folder, or in one of the setting `mapDirectory`
     */
    function load(name: string, options?: { away?: Away }): MapFile;
}

/** A record of the DNS. Beside these it has the parts of its data by name: `preference` and `exchange` of an MX, and so on. */
interface DnsRecord {
    /** Whose record it is, without the final dot. */
    name: string;
    /** The number of its type, as `Dns.t_mx`. */
    type: number;
    /** How long it may be kept, in seconds. */
    ttl: number;
    /** Its data as text: `"192.0.2.1"`, `"10 mx.example.org"`, the joined strings of a TXT. */
    data: string;
    /** Parts of its data. */
    [part: string]: any;
}

/** Questions to the DNS. None of these throws for what the network does. */
declare namespace Dns {
    /** What `Dns.query` returns where there is no answer. */
    const HOST_NOT_FOUND: 1, TRY_AGAIN: 2, NO_RECOVERY: 3, NO_DATA: 4;
    /** Record types. */
    const t_invalid: 0, t_a: 1, t_ns: 2, t_md: 3, t_mf: 4, t_cname: 5, t_soa: 6, t_mb: 7, t_mg: 8, t_mr: 9;
    const t_null: 10, t_wks: 11, t_ptr: 12, t_hinfo: 13, t_minfo: 14, t_mx: 15, t_txt: 16, t_rp: 17, t_afsdb: 18;
    const t_x25: 19, t_isdn: 20, t_rt: 21, t_nsap: 22, t_nsap_ptr: 23, t_sig: 24, t_key: 25, t_px: 26, t_gpos: 27;
    const t_aaaa: 28, t_loc: 29, t_nxt: 30, t_eid: 31, t_nimloc: 32, t_srv: 33, t_atma: 34, t_naptr: 35, t_kx: 36;
    const t_cert: 37, t_a6: 38, t_dname: 39, t_sink: 40, t_opt: 41, t_apl: 42, t_ds: 43, t_sshfp: 44, t_ipseckey: 45;
    const t_rrsig: 46, t_nsec: 47, t_dnskey: 48, t_dhcid: 49, t_nsec3: 50, t_nsec3param: 51, t_tlsa: 52;
    const t_smimea: 53, t_hip: 55, t_ninfo: 56, t_rkey: 57, t_talink: 58, t_cds: 59, t_cdnskey: 60, t_openpgpkey: 61;
    const t_csync: 62, t_https: 65, t_spf: 99, t_uinfo: 100, t_uid: 101, t_gid: 102, t_unspec: 103, t_nid: 104;
    const t_l32: 105, t_l64: 106, t_lp: 107, t_eui48: 108, t_eui64: 109, t_tkey: 249, t_tsig: 250, t_ixfr: 251;
    const t_axfr: 252, t_mailb: 253, t_maila: 254, t_any: 255, t_uri: 256, t_caa: 257, t_avc: 258, t_ta: 32768;
    const t_dlv: 32769;

    /**
     * The reversed name of an address, `"1.2.0.192.in-addr.arpa"`; `suffix` instead of in-addr.arpa and ip6.arpa.
     * @returns null when it is no address
     */
    function revAddr(addr: string, suffix?: string): string | null;
    /**
     * Asks, as the predecessor did; `Dns.lookup` is the one to write today. Waits.
     * @param type `Dns.t_mx` or `"MX"`
     * @param options timeout: in seconds, below the resolver's own (`--timeout dns`)
     * @returns the sections of the answer, or one of `HOST_NOT_FOUND`, `TRY_AGAIN`, `NO_RECOVERY`, `NO_DATA`
     */
    function query(name: string, type: number | string, options?: { timeout?: number }): number | {
        question: Array<{ name: string; type: number }>;
        answer: DnsRecord[];
        ns: DnsRecord[];
        additional: DnsRecord[];
    };
    /** Asks for the records of one type that a name has, by way of aliases. Waits. */
    function lookup(name: string, type: number | string, options?: { timeout?: number }): {
        status: 'found' | 'nxdomain' | 'nodata' | 'servfail' | 'refused' | 'timeout' | 'malformed' | 'unavailable';
        records: DnsRecord[];
        /** The data of `records`. */
        data: string[];
        /** How long the answer may be kept, in seconds. */
        ttl: number;
        /** Whether the outcome says nothing about the name, so that it may be another one later. */
        temporary: boolean;
        /** Why there is no answer, in words. */
        reason: string | null;
    };
    /** The addresses of a host, IPv4 before IPv6; empty when there are none. Waits. */
    function addresses(name: string): string[];
    /** The names that an address claims to have; nobody has verified them. Waits. */
    function names(addr: string): string[];
    /** The reverse names of an address, verified by their own addresses (RFC 8601 §2.7.3). Waits. */
    function iprev(addr: string): {
        result: 'pass' | 'fail' | 'temperror' | 'permerror';
        /** The verified name. */
        name: string | null;
        /** All that the address claims. */
        names: string[];
    };
}

/** A blocklist or allow-list for `Dnsbl`. */
interface DnsblZone {
    /** The domain of the list. */
    zone: string;
    /** What a listing adds to the score. Default 1. */
    weight?: number;
    /** Return codes that count, or ranges of them: `['127.0.0.2', '127.0.0.4-127.0.0.11']`. Default: all. */
    codes?: string | string[];
    /** Bits of the last octet of a return code, one of which must be set. */
    mask?: number;
    /** A listing here makes an end of all others. */
    allow?: boolean;
    /** It lists domains, not addresses. */
    domains?: boolean;
    /** Called with each record of a listing; what it returns decides whether it counts. */
    callback?: (record: { name: string; type: number; data: string; zone: string }) => unknown;
}

/** Blocklists and allow-lists in the DNS (RFC 5782), several at once. */
declare class Dnsbl {
    /**
     * @param zones a name, `[name, weight, codes, callback]` with any of the last three, or an object
     * @param options threshold: the score from which `listed` is true (default 1); timeout: for all together, in seconds (default 3)
     */
    constructor(zones: Array<string | DnsblZone | [string, ...any[]]>, options?: { threshold?: number; timeout?: number });
    /** The lists, as they were understood. */
    zones: object[];
    /** The score from which `listed` is true. */
    threshold: number;
    /** Seconds for all together. */
    timeout: number;
    /** Asks about an address, a domain, or several of them. Waits. */
    check(subjects: string | string[]): {
        listed: boolean;
        score: number;
        /** Whether an allow-list has one of them. */
        allowed: boolean;
        hits: Array<{ subject: string; zone: string; weight: number; allow: boolean; codes: string[] }>;
        /** Lists without an answer. A failure is never a listing. */
        failed: Array<{ zone: string; reason: string }>;
        /** Lists that are not asked for a while because they failed. */
        skipped: string[];
    };
    /** The hosts of the links in a text or HTML, without "www.", each once. @param limit at most so many; default 100 */
    static domainsIn(text: string, limit?: number): string[];
}

/** A signature of a message, verified. */
interface DkimSignature {
    /**
     * `fail`: message or body were changed; `neutral`: the signature cannot be understood; `policy`: not accepted by our rules (a
     * key too small or too large, rsa-sha1, too many signatures); `temperror`: no key just now; `permerror`: its key is
     * missing, revoked or broken.
     */
    result: 'pass' | 'fail' | 'neutral' | 'policy' | 'temperror' | 'permerror';
    /** Why it is no pass, in words. */
    reason: string | null;
    /** The domain that signed (d=). */
    domain: string | null;
    /** The name of its key (s=). */
    selector: string | null;
    /** The signer's identity (i=). */
    identity: string | null;
    /** As `rsa-sha256`. */
    algorithm: string | null;
    /** For the header and for the body, as `relaxed/simple`. */
    canonicalization: string | null;
    /** The size of the key; 0 when there is none. */
    keyBits: number;
    /** The names of the fields it signs. */
    headers: string[];
    /** How many octets of the body it signs, when it does not sign all (l=). */
    length: number | null;
    /** The octets of the body behind those. */
    unsigned: number;
    /** The owner of the domain tests DKIM (t=y): a failure should not count. */
    testing: boolean;
    /** When it was made, in seconds since 1970. */
    timestamp: number | null;
    /** Until when it holds, in seconds since 1970. */
    expires: number | null;
    /** The beginning of the signature (RFC 6008). */
    value: string | null;
}

/** What `Dkim.sign` needs. */
interface DkimKey {
    /** The domain that signs (d=). */
    domain: string;
    /** The name of the key (s=). */
    selector: string;
    /** The path of a file, beginning with "/", or the key itself: PEM, or an Ed25519 seed in base64. */
    key: string;
    /** Default `"relaxed/relaxed"`. */
    canonicalization?: string;
    /** Names of the fields to sign, as far as they are there. */
    headers?: string[];
    /** Names of which no field may be added later. */
    oversign?: string[];
    /** The signer's identity (i=). */
    identity?: string;
    /** Seconds until the signature expires. */
    expires?: number;
}

/** Signatures on messages (RFC 6376, RFC 8463), verified and made. */
declare namespace Dkim {
    /** Verifies every signature of a message. Waits. @returns one for each DKIM-Signature field, in their order */
    function verify(headers: Array<SmtpHeader | string> | null, body: SmtpBody | string | null): DkimSignature[];
    /**
     * Signs a message as it would leave with these headers. Waits. Put the result in front of them, and change neither headers
     * nor body after that.
     */
    function sign(headers: Array<SmtpHeader | string> | null, body: SmtpBody | string | null, options: DkimKey): SmtpHeader;
    /**
     * The entry of an object keyed by domain that fits the author of a message: that of its From domain or the nearest above it,
     * with `domain` filled in; null when there is none.
     */
    function keyFor(headers: SmtpHeader[], keys: { [domain: string]: object }): DkimKey | null;
}

/** A set of an ARC chain: what one receiver found out and sealed. */
interface ArcSet {
    /** From 1. */
    instance: number;
    /** What its seal says of the chain before it. */
    cv: string | null;
    /** Who sealed it (d= of the seal). */
    domain: string | null;
    /** The name of the key of the seal (s=). */
    selector: string | null;
    /** The outcome for the seal, as of `DkimSignature`; `none`: it was not looked at. */
    sealResult: string;
    /** Why the seal is no pass, in words. */
    sealReason: string | null;
    /** Who signed the message as it left that receiver. */
    signatureDomain: string | null;
    /** The outcome for that signature; `none`: it was not looked at. Only the newest must be good. */
    signatureResult: string;
    /** Why the signature is no pass, in words. */
    signatureReason: string | null;
    /** When it was sealed, in seconds since 1970. */
    timestamp: number | null;
    /** What it found out: a value for `AuthResults.read`. */
    authResults: string;
    /** The names that the message signature covers. */
    headers: string[];
    /** The octets of the body that it leaves out: anybody may have written them. */
    unsigned: number;
}

/** The outcome for the ARC chain of a message. */
interface ArcChain {
    /** The chain validation status (RFC 8617 §4.4). */
    result: 'none' | 'pass' | 'fail';
    /** Why it is no pass, in words. */
    reason: string | null;
    /** It failed only because a key could not be had just now. */
    temporary: boolean;
    /** A seal says that the chain had failed before. */
    ended: boolean;
    /** 0: the message is as the first receiver sealed it; else the instance since which it is what it is. Null without a pass. */
    oldestPass: number | null;
    /** Who sealed, the newest first, each once. */
    domains: Array<string | null>;
    /** The oldest first. */
    sets: ArcSet[];
}

/** What `Arc.seal` needs. */
interface ArcKey {
    /** The domain that seals (d=). */
    domain: string;
    /** The name of the key (s=). */
    selector: string;
    /** An RSA key: the path of a file, beginning with "/", or the key itself in PEM. */
    key: string;
    /** What `Arc.verify` said when the message arrived. Default: it is asked now. */
    chain?: ArcChain;
    /** Whose Authentication-Results in the headers are sealed. Default: those of this server's name. */
    authservId?: string;
    /** A value to seal instead. */
    results?: SmtpHeader | string;
    /** Names of the fields to sign, as far as they are there. */
    headers?: string[];
}

/** Authenticated Received Chain (RFC 8617): what earlier receivers found out about a message. */
declare namespace Arc {
    /** Verifies the chain of a message. Waits. */
    function verify(headers: Array<SmtpHeader | string> | null, body: SmtpBody | string | null): ArcChain;
    /**
     * Goes on with the chain of a message as it would leave with these headers. Waits. Put the three fields in front of them, and
     * change neither headers nor body after that. Empty when the chain must not go on.
     */
    function seal(headers: SmtpHeader[], body: SmtpBody | string | null, options: ArcKey): SmtpHeader[];
}

/** A method and its result, as Authentication-Results have it. */
interface AuthResult {
    /** As `spf`. */
    method: string;
    /** As `pass`. */
    result: string;
    /** The version of the method; 1 when nothing is said. */
    version?: number;
    /** Why, in words. */
    reason?: string | null;
    /** What stands in comments. */
    comment?: string | null;
    /** By names as `smtp.mailfrom`; of several with one name the first. */
    properties?: { [name: string]: string | null | undefined };
}

/** What `AuthResults.header` tells of `Dnsbl.check`. */
interface DnsblTold {
    /** Whether the threshold was reached. */
    listed: boolean;
    /** The sum of weights. */
    score: number;
    /** The lists. */
    hits: Array<{ zone: string }>;
}

/** What the checks of a session returned. What is absent or null is not told of. */
interface AuthOutcomes {
    /** The identity that the client has authenticated as. */
    auth?: string | null;
    /** Of `Dns.iprev`, and the address. */
    iprev?: { result: string; name: string | null; address: string } | null;
    /** Of `Spf.checkHelo`. */
    helo?: SpfOutcome | null;
    /** Of `Spf.check`; `sender`: the mailbox to tell instead of the domain. */
    spf?: (SpfOutcome & { sender?: string }) | null;
    /** Of `Dkim.verify`. */
    dkim?: DkimSignature[] | null;
    /** Of `Arc.verify`. */
    arc?: ArcChain | null;
    /** Of a DMARC evaluation; `disposition`: what was done. */
    dmarc?: { result: string; domain: string | null; policy?: string | null; disposition?: string | null; reason?: string | null } | null;
    /** Of `Dnsbl.check`. */
    dnsbl?: DnsblTold | DnsblTold[] | null;
}

/** The header field Authentication-Results (RFC 8601). */
declare namespace AuthResults {
    /** Reads a field of whoever. Never throws for what stands in it; `problem` says what could not be understood. */
    function read(header: SmtpHeader | string): {
        authservId: string | null; version: number; results: AuthResult[]; problem: string | null;
    };
    /** Removes, in place, every field that claims to be ours or could be taken for one (RFC 8601 §5). @returns how many */
    function remove(headers: Array<SmtpHeader | string>, authservId: string): number;
    /** Writes a field. What is given is quoted so that it can say no more than itself. */
    function write(authservId: string, results: AuthResult[]): SmtpHeader;
    /** One field that sums a session up. */
    function header(authservId: string, outcomes: AuthOutcomes): SmtpHeader;
}

/** What the owner of a domain says about messages that claim to be from there. */
interface DmarcRecord {
    /** Where the record is. */
    domain: string;
    /** The policy for the domain. */
    p: 'none' | 'quarantine' | 'reject' | null;
    /** The policy for its subdomains. */
    sp: 'none' | 'quarantine' | 'reject' | null;
    /** The policy for subdomains that do not exist (RFC 9989). */
    np: 'none' | 'quarantine' | 'reject' | null;
    /** Alignment of DKIM: relaxed or strict. */
    adkim: 'r' | 's';
    /** Alignment of SPF: relaxed or strict. */
    aspf: 'r' | 's';
    /** For how many of 100 messages the policy is (RFC 7489). */
    pct: number;
    /** Whether people register names under it (RFC 9989). */
    psd: 'y' | 'n' | 'u';
    /** The policy is being tested (RFC 9989). */
    t: boolean;
    /** Options for reports of failures. */
    fo: string;
    /** Where aggregate reports go to: URIs. */
    rua: string[];
}

/** The outcome of DMARC for one message. */
interface DmarcOutcome {
    /**
     * `none`: the domain has no DMARC record; `temperror`: no result just now; `permerror`: From does not say who the author is
     * (then `domain` is null), or the record has no policy that can be used.
     */
    result: 'pass' | 'fail' | 'none' | 'temperror' | 'permerror';
    /** Why it is no pass, in words. */
    reason: string | null;
    /** The author's domain, in lower case and A-labels. */
    domain: string | null;
    /** The registered domain above it. */
    organizationalDomain: string | null;
    /** What the owner of the domain wants for messages that fail. */
    policy: 'none' | 'quarantine' | 'reject';
    /** What that means for this message: `none` unless it fails. */
    disposition: 'none' | 'quarantine' | 'reject';
    /** The disposition is one step milder than the policy: `pct`, or `t=y`. */
    sampledOut: boolean;
    /** The text of the record. */
    record: string | null;
    /** What the record says. */
    published: DmarcRecord | null;
    /** What SPF found. `aligned`: it passed, and speaks for the author's domain. */
    spf: { result: string; identity: string; domain: string; aligned: boolean } | null;
    /** What DKIM found, in the order of the signatures. */
    dkim: Array<{ result: string; domain: string | null; selector: string | null; aligned: boolean }>;
}

/** Whether a message comes from the domain in its From (RFC 9989, RFC 7489). */
declare namespace Dmarc {
    /**
     * Whether SPF or DKIM speak for the author's domain, and what its owner wants if not. Waits.
     * @param found spf: of `Spf.check`; dkim: of `Dkim.verify`; standard: default `"rfc9989"`; smtputf8: the address in From may have
     *     letters that are not ASCII; sample: 0 to 100, compared with `pct`, default a random number
     */
    function evaluate(headers: SmtpHeader[], found: {
        spf?: SpfOutcome | null; dkim?: DkimSignature | DkimSignature[] | null; standard?: 'rfc9989' | 'rfc7489';
        smtputf8?: boolean; sample?: number;
    }): DmarcOutcome;
    /** Begins the look-ups that `evaluate` will want, so that they are under way while other checks wait. Does not wait. */
    function prepare(headers: SmtpHeader[], options?: { standard?: 'rfc9989' | 'rfc7489'; smtputf8?: boolean }): void;
    /**
     * Keeps what `evaluate` said for aggregate reports (`mailfilter dmarc-report`). Does not wait; what cannot be kept is dropped.
     * @param file a database; all workers may use the same one
     * @param facts address: the client's; sender: the domain of the envelope's sender, `""` for none; disposition: what was done with
     *     the message, default what the outcome says; override: why that is not what the owner of the domain wants
     * @returns false when there is nothing to report: the author's domain has no DMARC record
     */
    function record(file: string, outcome: DmarcOutcome, facts: {
        address: string; sender?: string; disposition?: 'none' | 'quarantine' | 'reject' | (string & {}); override?: string | null;
    }): boolean;
}

/** The outcome of an SPF check. */
interface SpfOutcome {
    /** The result as RFC 7208 §2.6 names it. */
    result: 'pass' | 'fail' | 'softfail' | 'neutral' | 'none' | 'temperror' | 'permerror';
    /** What was checked. */
    identity: 'mailfrom' | 'helo';
    /** Whose record was asked for. */
    domain: string;
    /** The mechanism that matched. */
    mechanism: string | null;
    /** What the owner of the domain wants to be told to a client that fails. */
    explanation: string | null;
    /** Why the result is `temperror`, `permerror`, or `none`. */
    problem: string | null;
    /** The value of a Received-SPF field. */
    header: string;
    /** The sentence in it. */
    comment: string;
}

/** Whether an address may send mail for a domain (RFC 7208). */
declare namespace Spf {
    /** Numbers as the predecessor had them. */
    const DNS_RESOLV: 0, DNS_CACHE: 1, DNS_ZONE: 2, RESULT_INVALID: 0, RESULT_NEUTRAL: 1, RESULT_PASS: 2;
    const RESULT_FAIL: 3, RESULT_SOFTFAIL: 4, RESULT_NONE: 5, RESULT_TEMPERROR: 6, RESULT_PERMERROR: 7;
    const REASON_NONE: 0, REASON_FAILURE: 1, REASON_LOCALHOST: 2, REASON_LOCAL_POLICY: 3, REASON_MECH: 4;
    const REASON_DEFAULT: 5, REASON_2MX: 6, E_SUCCESS: 0, E_NO_MEMORY: 1, E_NOT_SPF: 2, E_SYNTAX: 3, E_MOD_W_PREF: 4;
    const E_INVALID_CHAR: 5, E_UNKNOWN_MECH: 6, E_INVALID_OPT: 7, E_INVALID_CIDR: 8, E_MISSING_OPT: 9;
    const E_INTERNAL_ERROR: 10, E_INVALID_ESC: 11, E_INVALID_VAR: 12, E_BIG_SUBDOM: 13, E_INVALID_DELIM: 14;
    const E_BIG_STRING: 15, E_BIG_MECH: 16, E_BIG_MOD: 17, E_BIG_DNS: 18, E_INVALID_IP4: 19, E_INVALID_IP6: 20;
    const E_INVALID_PREFIX: 21, E_RESULT_UNKNOWN: 22, E_UNINIT_VAR: 23, E_MOD_NOT_FOUND: 24, E_NOT_CONFIG: 25;
    const E_DNS_ERROR: 26, E_BAD_HOST_IP: 27, E_BAD_HOST_TLD: 28, E_MECH_AFTER_ALL: 29, E_INCLUDE_RETURNED_NONE: 30;
    const E_RECURSIVE: 31, E_MULTIPLE_RECORDS: 32;
    /** The character of a result by its number; there is nothing at 0. */
    const resultChrMap: string[];
    /** The word of a result by its number; there is nothing at 0. */
    const resultStrMap: string[];
    /**
     * Checks whether an address may send for the domain of a sender, or for the name in HELO when there is no sender. Waits.
     * @param options lax: forgive a record what the standard calls an error, where its author's wish can be guessed
     */
    function check(address: string, sender: SmtpPath | string | null, helo?: string | null, options?: { lax?: boolean }): SpfOutcome;
    /** Checks whether an address may call itself so in HELO. Waits. */
    function checkHelo(address: string, helo: string): SpfOutcome;
}

/** SPF as the predecessor had it; `Spf.check` is the one to write today. */
declare class SpfServer {
    /** @param dnsType `Spf.DNS_RESOLV`, `Spf.DNS_CACHE` or `Spf.DNS_ZONE`; all use the program's resolver */
    constructor(dnsType: number);
    /** Checks the MAIL FROM identity. Waits. @param from an address, or a domain */
    query(ip: string, from: string): SpfResponse;
}

/** What `SpfServer.query` returns; `result`, `status`, `errcode` and `reason` are numbers of `Spf`. */
declare class SpfResponse {
    /** `Spf.RESULT_...` */
    result: number;
    /** `Spf.E_...` */
    status: number;
    /** The same. */
    errcode: number;
    /** `Spf.REASON_...` */
    reason: number;
    /** A whole Received-SPF field. */
    spfRecord: string;
    /** Its value. */
    spfValue: string;
    /** The sentence in it. */
    headerComment: string | null;
    /** The same for a reply to the client; null unless the result is fail or softfail. */
    smtpComment: string | null;
    /** What the owner of the domain wants to be told to a client that fails. */
    explanation: string | null;
    /** What went wrong. */
    errors: Array<{ code: number; message: string; isError: boolean }>;
}

/** Log, settings, output, and facts about the program. */
declare namespace Sys {
    const LOG_EMERG: 0, LOG_ALERT: 1, LOG_CRIT: 2, LOG_ERR: 3, LOG_WARNING: 4, LOG_NOTICE: 5, LOG_INFO: 6, LOG_DEBUG: 7;
    const LOG_PRIMASK: 7;
    const LOG_KERN: 0, LOG_USER: 8, LOG_MAIL: 16, LOG_DAEMON: 24, LOG_AUTH: 32, LOG_SYSLOG: 40, LOG_LPR: 48, LOG_NEWS: 56;
    const LOG_UUCP: 64, LOG_CRON: 72, LOG_AUTHPRIV: 80, LOG_FTP: 88;
    const LOG_LOCAL0: 128, LOG_LOCAL1: 136, LOG_LOCAL2: 144, LOG_LOCAL3: 152;
    const LOG_LOCAL4: 160, LOG_LOCAL5: 168, LOG_LOCAL6: 176, LOG_LOCAL7: 184;
    const LOG_FACMASK: 1016;

    /** Name of the user that the program ran as when the policy was loaded; absent when unknown. */
    const user: string | undefined;

    /** A setting, from `--set NAME=VALUE` or the environment's `MAILFILTER_NAME`. It must be set. */
    function setting(name: string): string;
    /** The same; when it is not set, `fallback`. It is converted to a number or boolean when `fallback` is one. */
    function setting(name: string, fallback: number): number;
    function setting(name: string, fallback: boolean): boolean;
    function setting(name: string, fallback: string): string;
    function setting<T>(name: string, fallback: T): string | T;

    /** A text as base64, of its octets. */
    function toBase64(text: string): string;
    /** The text that base64 stands for; null when it is none. */
    function fromBase64(text: string): string | null;
    /** Whether a password is the one that was hashed by crypt(3): `$6$…`, as `openssl passwd -6` makes it. Waits. */
    function verifyPassword(password: string, hashed: string): boolean;

    /**
     * Runs functions together and waits for all of them: while one waits for an answer, the others go on. Waits.
     *
     *     var replies = Sys.all([function () { return first.readResponse(); }, function () { return second.readResponse(); }]);
     *
     * @param options `errors: 'throw'` (default): the first error ends the others and is thrown; `'return'`: all run to
     *     their end, and an error stands where the value would
     * @returns what each function returned, in their order
     */
    function all<T>(functions: Array<() => T>, options?: { errors?: 'throw' }): T[];
    function all<T>(functions: Array<() => T>, options: { errors: 'return' }): Array<T | Error>;

    /** Writes a line to the log. Control characters in the text are escaped. @param priority `Sys.LOG_...` */
    function log(priority: number, text: unknown): void;
    /** Sends the program's log to syslog from now on. Defaults `"mailfilter"` and `Sys.LOG_MAIL`. */
    function openlog(ident?: string, facility?: number): void;
    /** For older policies: does nothing for a module that is known, throws for any other. */
    function loadModule(name: string): void;
    /** Writes its arguments to standard output, without separators. */
    function print(...values: unknown[]): void;
    /** The same, and a line feed. */
    function println(...values: unknown[]): void;
    /** A readable dump of its arguments with their types, one `$N = ...` for each. */
    function inspect(...values: unknown[]): string;
    /** Writes `inspect()` of its arguments to standard output. */
    function dump(...values: unknown[]): void;
}

/**
 * What another file of the policy exports: `require('./rules/recipients')`, or a policy that comes with Mailfilter:
 * `require('mailfilter/policies/mx')`. `require('mailfilter')` gives an object with all that is global here.
 */
declare function require(name: string): any;
/** Inside a file that is required: what it exports. */
declare var exports: any;
/** Inside a file that is required: itself. */
declare var module: { id: string; filename: string; loaded: boolean; exports: any };
/** Inside a file that is required: its path. */
declare var __filename: string;
/** Inside a file that is required: the folder that it lies in. */
declare var __dirname: string;

/** What `require('mailfilter/policies/authenticate')` gives. */
interface MailfilterAuthenticate {
    /** For smtpRcpt: what refuses a client whose address is listed, or null. Waits, once for a session. */
    client(session: SmtpServer, findings?: MailfilterFindings): SmtpResponse | null;
    /** For smtpData, before anything else changes the headers: checks the message, and puts Authentication-Results in front. Waits. */
    message(session: SmtpServer, headers: SmtpHeader[], body: SmtpBody | string, findings?: MailfilterFindings): {
        /** What refuses the message, or null. */
        response: SmtpResponse | null;
        /** Why it is not for the inbox, or null. */
        quarantine: string | null;
        /** What each check said, by the names that `AuthResults.header` takes; null of a client that is trusted. */
        results: { [name: string]: any } | null;
    };
    /** Whether a client is neither checked nor its mail changed. */
    trusts(session: SmtpServer): boolean;
    /** Whether it is one of ours: by its address, by AUTH, or because the policy has set `exempt` on the session. */
    knows(session: SmtpServer): boolean;
}

/** What `require('mailfilter/policies/junk')` gives. */
interface MailfilterJunk {
    /** Looks at a message. Waits. `null`: nothing was found; `"later"`: it cannot be said now. */
    judge(session: SmtpServer, headers: SmtpHeader[], body: SmtpBody | string): { kind: 'virus' | 'spam' | 'later'; test: string; reason: string } | null;
    /** Puts a word before the subject. */
    mark(headers: SmtpHeader[], word: string): void;
}

/** What `require('mailfilter/policies/settings')` gives: settings, read and checked. Each throws what is wrong. */
interface MailfilterSettings {
    /** The words of a text: what blanks, line ends and commas part. */
    split(text: string): string[];
    /** A setting as words. */
    words(name: string, fallback: string): string[];
    /** A setting that is one of the words in `known`. */
    choice<Word extends string>(name: string, fallback: string, known: Word[]): Word;
    /** The same for a text that was read already. */
    chosen<Word extends string>(name: string, text: string, known: Word[]): Word;
    /** A number that is `least` or more. */
    number(name: string, fallback: number, least: number): number;
    /** `host:port`, `[IPv6]:port` or `unix:/path`; null when it is empty. */
    server(name: string, fallback: string, port: number): { host: string; port: number } | null;
    /** The same for a text that was read already. */
    address(name: string, text: string, port: number): { host: string; port: number } | null;
    /** What is done when a service is away. */
    away(name: string, fallback: string): 'tempfail' | 'accept';
    /** `reject`, `defer`, `quarantine`, `mark`, `none`, or a number of points. */
    consequence(name: string, fallback: string | number): MailfilterConsequence;
    /** Whether it can have any effect. */
    matters(consequence: MailfilterConsequence): boolean;
    /** Addresses and networks. */
    networks(name: string, fallback: string): { has(address: string): boolean };
    /** Blocklists with weights: `zen.example.org=2 other.example`. */
    zones(name: string, fallback: string, kind: { allow?: boolean; domains?: boolean }): { zone: string; weight: number; allow: boolean; domains: boolean }[];
}

/** What follows when a test finds something: `reject`, `defer`, `quarantine`, `mark`, `none`, or `points`. */
interface MailfilterConsequence {
    /** Which of them. */
    what: string;
    /** How many, where it is points. */
    points: number;
    /** Words for the client, of an entry in a map. */
    text?: string;
}

/** What the tests of a message found: made by `new (require('mailfilter/policies/score').Findings)()`. */
interface MailfilterFindings {
    /** The sum. */
    points: number;
    /** What was found, in its order. */
    tests: { name: string; what: string; points: number }[];
    /** What refuses the message, of tests alone; see `refusal()`. */
    response: SmtpResponse | null;
    /** Whether a test has found something already. */
    has(name: string): boolean;
    /** A test has found something; `text` is that of the refusal: `5.7.1 ...`. The points count `factor` times. */
    add(name: string, consequence: MailfilterConsequence, text: string, factor?: number): void;
    /** A refusal in words of its own. */
    refuse(name: string, response: SmtpResponse): void;
    /** What refuses the message for what is known now, points included; or null. */
    refusal(): SmtpResponse | null;
    /** The reasons for quarantine, or null. */
    quarantine(): string | null;
    /** Whether the message is to be marked. */
    isMarked(): boolean;
    /** Writes what was found into the headers, at a place of them. */
    stamp(headers: SmtpHeader[], at?: number): void;
    /** In words. */
    toString(): string;
}

/** What `require('mailfilter')` gives. */
interface MailfilterLibrary {
    Arc: typeof Arc;
    AuthResults: typeof AuthResults;
    Connection: typeof Connection;
    Dkim: typeof Dkim;
    Dmarc: typeof Dmarc;
    ClamAV: typeof ClamAV;
    SpamAssassin: typeof SpamAssassin;
    Maps: typeof Maps;
    Rspamd: typeof Rspamd;
    Milter: typeof Milter;
    Dns: typeof Dns;
    Dnsbl: typeof Dnsbl;
    DriverManager: typeof DriverManager;
    Greylist: typeof Greylist;
    Http: typeof Http;
    Maildir: typeof Maildir;
    Quarantine: typeof Quarantine;
    PreparedStatement: typeof PreparedStatement;
    RateLimit: typeof RateLimit;
    ResultSet: typeof ResultSet;
    SmtpClient: typeof SmtpClient;
    SmtpHeader: typeof SmtpHeader;
    SmtpPath: typeof SmtpPath;
    SmtpResponse: typeof SmtpResponse;
    SmtpRoutes: typeof SmtpRoutes;
    SmtpServer: typeof SmtpServer;
    Spf: typeof Spf;
    SpfResponse: typeof SpfResponse;
    SpfServer: typeof SpfServer;
    Sql: typeof Sql;
    Statement: typeof Statement;
    Store: typeof Store;
    Sys: typeof Sys;
}
declare module 'mailfilter' {
    const library: MailfilterLibrary;
    export = library;
}
declare module 'mailfilter/policies/authenticate' {
    const authenticate: MailfilterAuthenticate;
    export = authenticate;
}
declare module 'mailfilter/policies/junk' {
    const junk: MailfilterJunk;
    export = junk;
}
declare module 'mailfilter/policies/settings' {
    const settings: MailfilterSettings;
    export = settings;
}
/* Policies that others build on: their handlers are there when they have been required. */
declare module 'mailfilter/policies/proxy' {
    const nothing: {};
    export = nothing;
}
declare module 'mailfilter/policies/score' {
    const score: { Findings: { new (): MailfilterFindings } };
    export = score;
}
declare module 'mailfilter/policies/headers' {
    const headers: {
        /** Puts a word before the subject. */
        mark(headers: SmtpHeader[], word: string): void;
        /** Removes fields by name, from a place on. */
        remove(headers: SmtpHeader[], names: string[], from?: number): void;
    };
    export = headers;
}
declare module 'mailfilter/policies/clients' {
    const clients: {
        /** What stands behind an entry of a map. */
        wish(value: string | null): MailfilterConsequence | null;
        /** Whether a client is one of ours, by settings or maps. Waits. */
        knows(session: SmtpServer): boolean;
        /** For smtpMail: what refuses too many messages, or null. Waits. */
        tooMany(session: SmtpServer, path: SmtpPath): SmtpResponse | null;
        /** For smtpRcpt, once for a transaction: client and sender. Waits. */
        look(session: SmtpServer, domains: { has(name: string): boolean }, findings: MailfilterFindings): void;
        /** For smtpRcpt: what puts a recipient off, or null. Waits. */
        recipient(session: SmtpServer, path: SmtpPath, findings: MailfilterFindings): SmtpResponse | null;
        /** Asks a client that nobody knows to come again; null: it may pass. Waits. */
        greylisted(session: SmtpServer, path: SmtpPath): SmtpResponse | null;
    };
    export = clients;
}
declare module 'mailfilter/policies/content' {
    const content: {
        /** Whether there is nothing to do. */
        idle: boolean;
        /** Looks at a message, and gives the body that goes on. Waits. */
        look(session: SmtpServer, headers: SmtpHeader[], body: SmtpBody, findings: MailfilterFindings): SmtpBody;
    };
    export = content;
}
declare module 'mailfilter/policies/onward' {
    const onward: {
        /** Whether each user has a Maildir. */
        perUser: boolean;
        /** The reply to MAIL. Waits. */
        mail(session: SmtpServer, path: SmtpPath): SmtpResponse;
        /** The reply to RCPT. Waits. */
        rcpt(session: SmtpServer, path: SmtpPath, user: string): SmtpResponse;
        /** Begins a message with the next hop. Waits. */
        begin(session: SmtpServer, how: string): SmtpResponse | null;
        /** The message will not come. */
        giveUp(session: SmtpServer): void;
        /** Gives a message away, and gives the reply to it. Waits. */
        message(session: SmtpServer, headers: SmtpHeader[], body: SmtpBody, findings: MailfilterFindings): SmtpResponse;
        /** The reply to RSET. Waits. */
        reset(session: SmtpServer): SmtpResponse;
        /** The session is over. Waits. */
        close(session: SmtpServer): void;
    };
    export = onward;
}
