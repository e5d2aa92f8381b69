/*
 * Sql: databases (SQLite, PostgreSQL, MySQL, MariaDB), the plain way. jdbc.js has the predecessor's.
 *
 * Values go beside a statement, for the question marks in it, and never into its text.
 */
(function (host, global) {
    'use strict';

    function parameter(value) {
        if (value === undefined || value === null) {
            return null;
        }
        if (typeof value === 'number' && !isFinite(value)) {
            throw new TypeError('a parameter cannot be ' + value);
        }
        if (typeof value === 'function' || typeof value === 'symbol') {
            throw new TypeError('a parameter cannot be a ' + typeof value);
        }
        if (typeof value !== 'object' || ArrayBuffer.isView(value) || value instanceof ArrayBuffer) {
            return value;
        }
        if (value instanceof Date) {
            return { date: value.getTime() };
        }
        if (Array.isArray(value)) {
            return value.map(parameter);
        }
        return String(value);
    }

    function parameters(values) {
        if (values === undefined || values === null) {
            return [];
        }
        if (!Array.isArray(values)) {
            throw new TypeError('parameters are an array, in the order of the question marks');
        }
        return values.map(parameter);
    }

    /* An error of the database has its SQLSTATE also by the name that says so. */
    function named(error) {
        if (error.name === 'SqlError') {
            error.sqlState = error.code;
        }
        return error;
    }

    /* The number of a new transaction; null when the database is away and that is accepted. */
    function begin(database) {
        try {
            return host.wait(['sql.begin', database.where, database.seconds, database.away]);
        } catch (error) {
            throw named(error);
        }
    }

    function commit(database, handle) {
        try {
            return host.wait(['sql.end', handle, true, database.seconds, database.away]);
        } catch (error) {
            throw named(error);
        }
    }

    /* What a statement gave, with moments as Dates; null when the database is away and that is accepted. */
    function run(database, handle, text, values, keys) {
        var result, dates, i, k;
        try {
            result = host.wait(['sql.run', database.where, handle, String(text), parameters(values), keys, database.seconds,
                database.away]);
        } catch (error) {
            throw named(error);
        }
        if (result !== null) {
            dates = result[4];
            for (i = 0; i < dates.length; i++) {
                for (k = 0; k < result[1].length; k++) {
                    if (result[1][k][dates[i]] !== null) {
                        result[1][k][dates[i]] = new Date(result[1][k][dates[i]]);
                    }
                }
            }
        }
        return result;
    }

    function objects(result) {
        var columns, rows = [], row, i, k;
        if (result === null) {
            return null;
        }
        columns = result[0] || [];
        for (i = 0; i < result[1].length; i++) {
            row = {};
            for (k = 0; k < columns.length; k++) {
                row[columns[k]] = result[1][i][k];
            }
            rows[i] = row;
        }
        return rows;
    }

    /**
     * A database. Made by Sql.connect.
     */
    function SqlDatabase(url, options) {
        host.define(this, 'where', [String(url), null, null]);
        this.name = host.now('sql.check', String(url), null, null);
        this.seconds = host.secondsOf(options);
        this.away = host.awayOf(options);
        host.define(this, 'handle', 0);
    }

    /**
     * Asks. Waits.
     *
     *     var rows = db.query('SELECT action, reason FROM senders WHERE address = ?', [String(this.sender)]);
     *
     * @param {string} text  a statement with a question mark for each parameter
     * @param {Array} [values]  the parameters
     * @returns {?object[]} one object for each row; null when the database is away and `away` is "accept"
     */
    SqlDatabase.prototype.query = function (text, values) {
        return objects(run(this, this.handle, text, values, false));
    };

    /**
     * Changes something. Waits.
     * @param {string} text
     * @param {Array} [values]
     * @returns {?{count: number, key: ?(number|string)}} count: rows changed; key: the number that the database gave to the last
     *     new row (SQLite, MySQL; PostgreSQL has `INSERT … RETURNING id` for query); null when it is away and that is accepted
     */
    SqlDatabase.prototype.execute = function (text, values) {
        var result = run(this, this.handle, text, values, false);
        return result === null ? null : { count: result[2], key: result[3] };
    };

    /**
     * Does several things or none: commits when the function returns, rolls back when it throws. Waits.
     *
     *     var id = db.transaction(function (tx) {
     *         tx.execute('UPDATE …'); return tx.query('SELECT …')[0].id;
     *     });
     *
     * What a handler that is cut off has begun is rolled back, too.
     * @param {function(SqlTransaction): *} work
     * @returns {*} what it returned; null when the database is away and `away` is "accept"
     */
    SqlDatabase.prototype.transaction = function (work) {
        var handle, transaction, value;
        if (typeof work !== 'function') {
            throw new TypeError('transaction: a function is needed');
        }
        handle = begin(this);
        if (handle === null) {
            return null;
        }
        transaction = new SqlTransaction(this, handle);
        try {
            value = work.call(undefined, transaction);
        } catch (error) {
            host.wait(['sql.end', handle, false, 0, 'throw']);
            throw error;
        }
        return commit(this, handle) === null ? null : value;
    };

    /* The database inside a transaction: the same calls. */
    function SqlTransaction(database, handle) {
        host.define(this, 'where', database.where);
        this.name = database.name;
        this.seconds = database.seconds;
        this.away = database.away;
        host.define(this, 'handle', handle);
    }
    SqlTransaction.prototype.query = SqlDatabase.prototype.query;
    SqlTransaction.prototype.execute = SqlDatabase.prototype.execute;

    /* For jdbc.js. */
    host.sql = { run: run, begin: begin, commit: commit };

    global.Sql = {
        /**
         * A database by its URL. Nothing is connected before something is asked; connections are shared by all sessions.
         *
         *     var db = Sql.connect(Sys.setting('database', 'sqlite:/var/lib/mailfilter/mail.db'));
         *
         * @param {string} url  sqlite:/path/of/file, postgresql://user:password@host/database, mysql://user:password@host/database
         * @param {{timeout: number, away: string}} [options]  timeout: for each statement, in seconds; away: what happens when the
         *     database cannot be asked: "tempfail" (default), "accept", "throw"
         * @returns {SqlDatabase}
         * @throws {Error} when the URL is none, or the driver for it is not installed
         */
        connect: function (url, options) {
            return new SqlDatabase(url, options || {});
        }
    };
}(this.host, this));
