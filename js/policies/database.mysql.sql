-- The tables of the policy database, for MySQL and MariaDB:
--     mysql mail < database.mysql.sql

CREATE TABLE IF NOT EXISTS smtp_transactions (
    smtp_transaction_id BIGINT AUTO_INCREMENT PRIMARY KEY,
    remote_addr VARCHAR(64) NOT NULL,                   -- the client; "local" over a UNIX socket
    remote_port INTEGER NOT NULL,
    envelope_sender VARCHAR(1000) NOT NULL,             -- as in MAIL: <> is the null sender
    time TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
    subject TEXT,                                       -- decoded; NULL without a message, or where it has none
    smtp_status_code INTEGER,                           -- what the client was told; NULL: it is not known
    smtp_status_message TEXT,
    module VARCHAR(30),                                 -- who decided: next hop, clamav, spamassassin, sender, spf, dnsbl, engine, fault
    size BIGINT NOT NULL DEFAULT 0,                     -- octets of the body
    INDEX smtp_transactions_time (time)
) ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4;

CREATE TABLE IF NOT EXISTS smtp_transaction_recipients (
    smtp_transaction_recipient_id BIGINT AUTO_INCREMENT PRIMARY KEY,
    smtp_transaction_id BIGINT NOT NULL,
    recipient VARCHAR(1000) NOT NULL,
    INDEX smtp_transaction_recipients_of (smtp_transaction_id),
    FOREIGN KEY (smtp_transaction_id) REFERENCES smtp_transactions (smtp_transaction_id) ON DELETE CASCADE
) ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4;
