-- The tables of the policy database, for PostgreSQL:
--     psql mail < database.postgresql.sql

CREATE TABLE IF NOT EXISTS smtp_transactions (
    smtp_transaction_id BIGSERIAL PRIMARY KEY,
    remote_addr VARCHAR(64) NOT NULL,                   -- the client; "local" over a UNIX socket
    remote_port INTEGER NOT NULL,
    envelope_sender TEXT NOT NULL,                      -- as in MAIL: <> is the null sender
    time TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT CURRENT_TIMESTAMP,
    subject TEXT,                                       -- decoded; NULL without a message, or where it has none
    smtp_status_code INTEGER,                           -- what the client was told; NULL: it is not known
    smtp_status_message TEXT,
    module VARCHAR(30),                                 -- who decided: next hop, clamav, spamassassin, sender, spf, dnsbl, engine, fault
    size BIGINT NOT NULL DEFAULT 0                      -- octets of the body
);

CREATE TABLE IF NOT EXISTS smtp_transaction_recipients (
    smtp_transaction_recipient_id BIGSERIAL PRIMARY KEY,
    smtp_transaction_id BIGINT NOT NULL REFERENCES smtp_transactions (smtp_transaction_id) ON DELETE CASCADE,
    recipient TEXT NOT NULL
);

CREATE INDEX IF NOT EXISTS smtp_transactions_time ON smtp_transactions (time);
CREATE INDEX IF NOT EXISTS smtp_transaction_recipients_of ON smtp_transaction_recipients (smtp_transaction_id);
