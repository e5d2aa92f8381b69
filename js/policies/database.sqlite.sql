-- The tables of the policy database, for SQLite. It makes them itself when they are missing; to make them before:
--     sqlite3 /var/lib/mailfilter/mail.db < database.sqlite.sql

CREATE TABLE IF NOT EXISTS smtp_transactions (
    smtp_transaction_id INTEGER PRIMARY KEY,
    remote_addr TEXT NOT NULL,                          -- the client; "local" over a UNIX socket
    remote_port INTEGER NOT NULL,
    envelope_sender TEXT NOT NULL,                      -- as in MAIL: <> is the null sender
    time TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP,       -- in UTC
    subject TEXT,                                       -- decoded; NULL without a message, or where it has none
    smtp_status_code INTEGER,                           -- what the client was told; NULL: it is not known
    smtp_status_message TEXT,
    module TEXT,                                        -- who decided: next hop, clamav, spamassassin, sender, spf, dnsbl, engine, fault
    size INTEGER NOT NULL DEFAULT 0                     -- octets of the body
);

CREATE TABLE IF NOT EXISTS smtp_transaction_recipients (
    smtp_transaction_recipient_id INTEGER PRIMARY KEY,
    smtp_transaction_id INTEGER NOT NULL REFERENCES smtp_transactions (smtp_transaction_id) ON DELETE CASCADE,
    recipient TEXT NOT NULL
);

CREATE INDEX IF NOT EXISTS smtp_transactions_time ON smtp_transactions (time);
CREATE INDEX IF NOT EXISTS smtp_transaction_recipients_of ON smtp_transaction_recipients (smtp_transaction_id);
