"""THE table of operations: everything that JavaScript can ask of the program, one row each.

The names here and those that js/*.js gives to host.now and host.wait are the same set; a test compares them.
"""
from mailfilter.policy import arc_operations as arc
from mailfilter.policy import auth_results_operations as auth_results
from mailfilter.policy import client_auth
from mailfilter.policy import client_operations as client
from mailfilter.policy import dkim_operations as dkim
from mailfilter.policy import dmarc_operations as dmarc
from mailfilter.policy import dns_operations as dns
from mailfilter.policy import dnsbl_operations as dnsbl
from mailfilter.policy import http_operations as http
from mailfilter.policy import map_operations as maps
from mailfilter.policy import message_operations as message
from mailfilter.policy import milter_operations as milter
from mailfilter.policy import mime_operations as mime
from mailfilter.policy import module_operations as modules
from mailfilter.policy import quarantine_operations as quarantine
from mailfilter.policy import scanner_operations as scanner
from mailfilter.policy import sender_operations as sender
from mailfilter.policy import session_operations as session
from mailfilter.policy import sql_operations as sql
from mailfilter.policy import store_operations as store
from mailfilter.policy import system_operations as system
from mailfilter.policy import together_operations as together
from mailfilter.policy import trace_operations as trace
from mailfilter.policy.operation import Operation

__all__ = ["AT_ONCE", "LOADING", "OPERATIONS", "WAITED_FOR"]

NUMBER = (int, float)
OPTIONAL_TEXT = (str, type(None))
OPTIONAL_OBJECT = (dict, type(None))
BODY = (int, str, type(None))

OPERATIONS = (
    Operation("log.write", system.log_write, (NUMBER, str), effects=True, loading=True),
    Operation("log.open", system.log_open, (str, NUMBER), effects=True, loading=True),
    Operation("sys.print", system.print_text, (str,), effects=True, loading=True),
    Operation("sys.setting", system.setting, (str,), loading=True),
    Operation("sys.user", system.user, loading=True),
    Operation("sys.hostname", system.hostname, loading=True),
    Operation("trace.received", trace.received, (str, OPTIONAL_TEXT, OPTIONAL_TEXT, str, str, str, OPTIONAL_TEXT)),
    Operation("clock.now", system.clock, loading=True),
    Operation("clock.monotonic", system.monotonic, loading=True),
    Operation("random.number", system.random_number, loading=True),
    Operation("module.want", modules.want, (str, str), loading=True, failure="gives what is wrong"),
    Operation("session.extensions", system.extensions),
    Operation("session.tls", system.tls),
    Operation("session.limits", session.limits, (OPTIONAL_OBJECT,)),
    Operation("session.timeouts", session.timeouts, (OPTIONAL_OBJECT,)),
    Operation("session.early", session.early),
    Operation("session.tarpit", session.tarpit, (NUMBER,)),
    Operation("session.pause", session.pause, (NUMBER,), waits=True, deadline="300 s"),
    Operation("session.challenge", session.challenge, (str,), waits=True, effects=True, deadline="handler"),
    Operation("session.authenticated", session.authenticated, (str,)),
    Operation("session.replies", session.replies, (list,)),
    Operation("text.encode", session.encode_base64, (str,), loading=True, failure="never fails"),
    Operation("text.decode", session.decode_base64, (str,), loading=True, failure="gives null"),
    Operation("password.verify", system.verify_password, (str, str), waits=True, deadline="handler"),
    Operation("path.parse", system.parse, (str,), loading=True, failure="gives null"),
    Operation("body.read", message.read, (NUMBER, NUMBER, NUMBER)),
    Operation("mime.parts", mime.parts, (NUMBER, (list, type(None))), waits=True, deadline="message_handler"),
    Operation("mime.headers", mime.headers, (NUMBER, NUMBER)),
    Operation("mime.text", mime.text, (NUMBER, NUMBER, NUMBER, NUMBER), waits=True, deadline="message_handler"),
    Operation("mime.forget", mime.forget, (NUMBER, NUMBER)),
    Operation("mime.read", mime.read, (NUMBER, NUMBER, NUMBER, NUMBER), waits=True, deadline="message_handler"),
    Operation("mime.magic", mime.magic, (NUMBER, NUMBER)),
    Operation("mime.links", mime.links, (NUMBER, NUMBER), waits=True, deadline="message_handler"),
    Operation("mime.edit", mime.edit, (NUMBER, list), waits=True, deadline="message_handler"),
    Operation("header.decode", mime.decode, (str,), loading=True, failure="never fails"),
    Operation("client.connect", client.connect, (str, NUMBER, dict), waits=True, effects=True, deadline="connect"),
    Operation("client.greeting", client.greeting, (str, NUMBER, dict), waits=True, effects=True, deadline="connect, greeting"),
    Operation("client.command", client.command, (NUMBER, str, OPTIONAL_TEXT), effects=True),
    Operation("client.reply", client.reply, (NUMBER,), waits=True,
              deadline="greeting, hello, mail, rcpt, data, data_end, reset or quit, by the command"),
    Operation("client.exchange", client.exchange, (NUMBER, str, OPTIONAL_TEXT), waits=True, effects=True,
              deadline="hello, mail, rcpt, data, reset or quit, by the command"),
    Operation("client.envelope", client.envelope, (NUMBER, str, str, list), waits=True, effects=True, deadline="mail, rcpt"),
    Operation("client.extensions", client.extensions, (NUMBER,)),
    Operation("client.starttls", client.starttls, (NUMBER, dict), waits=True, effects=True, deadline="hello, tls_handshake"),
    Operation("client.auth", client_auth.authenticate, (NUMBER, str, str, str, bool), waits=True, effects=True,
              deadline="hello, for each step"),
    Operation("client.answer", client.answer, (NUMBER, str), effects=True),
    Operation("client.impersonate", client.impersonate, (NUMBER, str, list), effects=True),
    Operation("client.message", client.message, (NUMBER, list, BODY), waits=True, effects=True, deadline="data_block"),
    Operation("client.transmit", client.transmit, (NUMBER, list, BODY), waits=True, effects=True,
              deadline="data_block, data_end"),
    Operation("client.chunks", client.chunks, (NUMBER, list, BODY), waits=True, effects=True, deadline="data_block"),
    Operation("client.way", client.way, (NUMBER, BODY)),
    Operation("client.spoil", client.spoil, (NUMBER,), effects=True),
    Operation("client.close", client.close, (NUMBER,), effects=True, failure="never fails"),
    Operation("client.keep", client.keep, (NUMBER, str, list), effects=True, failure="gives false"),
    Operation("client.reuse", client.reuse, (str, NUMBER, dict, str), waits=True, effects=True, deadline="reset",
              failure="gives null"),
    Operation("together.next", together.next_answers, (NUMBER, list), waits=True, deadline="that of each in it"),
    Operation("together.cancel", together.cancel, (NUMBER,), failure="never fails"),
    Operation("dns.address", dns.address, (str, OPTIONAL_TEXT), loading=True, failure="gives null"),
    Operation("dns.lookup", dns.lookup, (str, NUMBER, NUMBER), waits=True, deadline="dns, or shorter as asked",
              failure="gives the outcome"),
    Operation("dns.question", dns.question, (str, NUMBER, NUMBER), waits=True, deadline="dns, or shorter as asked",
              failure="gives a number"),
    Operation("dns.reverse", dns.reverse, (str,), waits=True, deadline="dns", failure="gives null"),
    Operation("dns.iprev", dns.iprev, (str,), waits=True, deadline="dns", failure="gives temperror"),
    Operation("dnsbl.check", dnsbl.check, (list, list, (int, float, type(None)), NUMBER), waits=True,
              deadline="3 s, or as asked", failure="gives what is known"),
    Operation("dnsbl.hosts", dnsbl.hosts, (str, NUMBER)),
    Operation("spf.check", sender.spf, (str, str, str, bool), waits=True, deadline="20 s (RFC 7208 §4.6.4)",
              failure="gives temperror"),
    Operation("dkim.verify", dkim.verify, (list, BODY), waits=True, deadline="dns for each signature",
              failure="gives temperror"),
    Operation("dkim.sign", dkim.sign, (list, BODY, str, str, str, list, list, str, OPTIONAL_TEXT, NUMBER), waits=True,
              deadline="message_handler"),
    Operation("arc.verify", arc.verify, (list, BODY), waits=True, deadline="dns for each key", failure="gives what is known"),
    Operation("arc.seal", arc.seal, (list, BODY, str, str, str, list, str, str), waits=True, deadline="message_handler"),
    Operation("authresults.read", auth_results.read, (str,), loading=True, failure="gives what is known"),
    Operation("authresults.claims", auth_results.claims, (str, str), loading=True, failure="never fails"),
    Operation("dmarc.evaluate", dmarc.evaluate, (list, list, list, str, bool, NUMBER), waits=True,
              deadline="dns for each look-up", failure="gives temperror"),
    Operation("dmarc.prepare", dmarc.prepare, (list, str, bool), failure="never fails"),
    Operation("dmarc.record", dmarc.record, (str, dict), effects=True, failure="never fails"),
    Operation("sql.check", sql.check, (str, OPTIONAL_TEXT, OPTIONAL_TEXT), loading=True),
    Operation("sql.run", sql.run, (list, NUMBER, str, list, (bool, str), NUMBER, str), waits=True, effects=True,
              deadline="sql, or as asked", failure="as `away` says"),
    Operation("sql.begin", sql.begin, (list, NUMBER, str), waits=True, effects=True, deadline="sql, or as asked",
              failure="as `away` says"),
    Operation("sql.end", sql.end, (NUMBER, bool, NUMBER, str), waits=True, effects=True, deadline="sql, or as asked",
              failure="as `away` says; a rollback never fails"),
    Operation("clamav.scan", scanner.clamav, (str, NUMBER, list, BODY, NUMBER, NUMBER, str), waits=True,
              deadline="clamav, or as asked", failure="as `away` says"),
    Operation("spamassassin.scan", scanner.spamassassin, (str, NUMBER, str, list, BODY, NUMBER, NUMBER, str), waits=True,
              deadline="spamassassin, or as asked", failure="as `away` says"),
    Operation("spamassassin.modify", scanner.spamassassin_modify, (str, NUMBER, str, list, BODY, NUMBER, NUMBER, str), waits=True,
              deadline="spamassassin, or as asked", failure="as `away` says"),
    Operation("rspamd.check", scanner.rspamd, (str, NUMBER, list, list, bool, list, BODY, NUMBER, NUMBER, str), waits=True,
              deadline="rspamd, or as asked", failure="as `away` says"),
    Operation("store.check", store.check, (str,), loading=True),
    Operation("store.digest", store.digest, (str,)),
    Operation("store.perform", store.perform, (str, str, str, list, NUMBER, str), waits=True, effects=True,
              deadline="store, or as asked", failure="as `away` says"),
    Operation("address.network", store.network, (str, NUMBER, NUMBER), loading=True, failure="gives the address"),
    Operation("address.within", store.within, (str, list), loading=True),
    Operation("map.load", maps.load, (str,), loading=True),
    Operation("map.find", maps.find, (str, str, str), waits=True, deadline="none: at once, unless the file is new",
              failure="as `away` says"),
    Operation("http.check", http.check, loading=True),
    Operation("http.request", http.request, (str, str, list, (str, bytes, type(None)), NUMBER, NUMBER, list, NUMBER, str),
              waits=True, effects=True, deadline="http, or as asked", failure="as `away` says"),
    Operation("milter.check", milter.check, (str, NUMBER, list, list, BODY, NUMBER, NUMBER, str), waits=True,
              effects=True, deadline="milter, or as asked", failure="as `away` says"),
    Operation("maildir.deliver", message.deliver, (str, list, BODY, OPTIONAL_TEXT), waits=True, effects=True,
              deadline="message_handler"),
    Operation("quarantine.check", quarantine.check, (str,), loading=True),
    Operation("quarantine.hold", quarantine.hold,
              (str, list, BODY, list, list, list, str, (int, float, type(None)), list), waits=True, effects=True,
              deadline="message_handler"),
)

AT_ONCE = {operation.name: operation for operation in OPERATIONS if not operation.waits}
WAITED_FOR = {operation.name: operation for operation in OPERATIONS if operation.waits}
LOADING = {name: operation for name, operation in AT_ONCE.items() if operation.loading}
