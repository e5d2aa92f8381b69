/*
 * DriverManager, Connection, Statement, PreparedStatement, ResultSet: databases as policies of the predecessor ask them,
 * in the manner of JDBC. Columns and parameters are counted from 1.
 */
(function (host, global) {
    'use strict';

    var drivers = [];

    /** A driver of a policy's own goes before ours: {acceptsURL(url), connect(url, info)}. */
    global.DriverManager = {
        registerDriver: function (driver) {
            if (driver === null || typeof driver !== 'object' || typeof driver.connect !== 'function') {
                throw new TypeError('a driver has acceptsURL(url) and connect(url, info)');
            }
            drivers.push(driver);
        },

        /** The driver that takes a URL; throws when none does. */
        getDriver: function (url) {
            for (var i = 0; i < drivers.length; i++) {
                if (drivers[i].acceptsURL(url)) {
                    return drivers[i];
                }
            }
            if (ours.acceptsURL(url)) {
                return ours;
            }
            throw new Error('no driver takes the URL');
        },

        /**
         * @param {string} url  as for Sql.connect, with or without "jdbc:" before it
         * @param {object|string} [info]  {user, password, timeout, away}, or the user
         * @param {string} [password]
         * @returns {Connection}
         */
        getConnection: function (url, info, password) {
            var i, connection;
            if (arguments.length > 2 || typeof info === 'string') {
                info = { user: String(info), password: password === undefined ? null : String(password) };
            } else if (info !== undefined && info !== null && typeof info !== 'object') {
                throw new TypeError('getConnection: an object with user and password is needed, or both as texts');
            }
            for (i = 0; i < drivers.length; i++) {
                connection = drivers[i].connect(String(url), info || {});
                if (connection !== null && connection !== undefined) {
                    return connection;
                }
            }
            return ours.connect(String(url), info || {});
        }
    };

    var ours = {
        acceptsURL: function (url) {
            return /^(jdbc:)?(sqlite3?|postgres|postgresql|mysql|mariadb):/i.test(url);
        },
        connect: function (url, info) {
            return new Connection(url, info);
        }
    };

    function text(value) {
        return value === undefined || value === null ? null : String(value);
    }

    /** A connection; statements are committed one by one unless setAutoCommit(false). */
    function Connection(url, info) {
        info = info || {};
        host.define(this, 'where', [String(url), text(info.user), text(info.password)]);
        host.now('sql.check', this.where[0], this.where[1], this.where[2]);
        host.define(this, 'seconds', host.secondsOf(info));
        host.define(this, 'away', info.away === undefined ? 'tempfail' : host.awayOf(info));
        host.define(this, 'handle', 0);
        host.define(this, 'automatic', true);
        host.define(this, 'closed', false);
    }

    Connection.prototype.createStatement = function () {
        return new Statement(this);
    };

    /** @param {boolean|number|Array} [keys]  whether generated keys are wanted; for PostgreSQL also the names of their columns */
    Connection.prototype.prepareStatement = function (sql, keys) {
        return new PreparedStatement(this, sql, keys);
    };

    /** The name that the samples of the predecessor use. */
    Connection.prototype.createPreparedStatement = Connection.prototype.prepareStatement;

    Connection.prototype.nativeSQL = function (sql) {
        return sql;
    };

    /** false: statements belong to a transaction until commit() or rollback(). Ends one that is open, by committing. */
    Connection.prototype.setAutoCommit = function (on) {
        if (on && this.handle) {
            this.commit();
        }
        this.automatic = !!on;
    };

    Connection.prototype.getAutoCommit = function () {
        return this.automatic;
    };

    Connection.prototype.commit = function () {
        var handle = this.handle;
        this.handle = 0;
        if (handle) {
            host.sql.commit(this, handle);
        }
    };

    Connection.prototype.rollback = function () {
        var handle = this.handle;
        this.handle = 0;
        if (handle) {
            host.wait(['sql.end', handle, false, 0, 'throw']);
        }
    };

    /** Rolls back what was not committed; nothing can be asked afterwards. */
    Connection.prototype.close = function () {
        this.rollback();
        this.closed = true;
    };

    Connection.prototype.isClosed = function () {
        return this.closed;
    };

    function perform(statement, sql, values, keys) {
        var connection = statement.connection, result;
        if (connection.closed) {
            throw new Error('the connection is closed');
        }
        if (!connection.automatic && !connection.handle) {
            connection.handle = host.sql.begin(connection) || 0;
        }
        try {
            result = host.sql.run(connection, connection.handle, sql, values, keysOf(keys));
        } catch (error) {
            if (error.sqlState === '25000') {
                connection.handle = 0;          // it was rolled back while nobody looked
            }
            throw error;
        }
        statement.result = statement.keys = null;
        statement.count = -1;
        if (result === null) {
            return statement;
        }
        if (keysOf(keys) !== false && result[0] !== null) {
            statement.keys = new ResultSet(statement, result[0], result[1]);
            statement.count = result[2];
        } else if (result[0] !== null) {
            statement.result = new ResultSet(statement, result[0], result[1]);
        } else {
            statement.count = result[2];
            if (keysOf(keys) !== false) {
                statement.keys = new ResultSet(statement, ['GENERATED_KEY'], counted(result[3], result[2]));
            }
        }
        return statement;
    }

    /* What the drivers know: false, true, or names of columns. */
    function keysOf(keys) {
        if (Array.isArray(keys)) {
            return keys.every(function (key) { return typeof key === 'string'; }) ? keys.join(', ') : true;
        }
        return keys === true || keys === 1;
    }

    /* A statement with several new rows tells the first number in MySQL; they count up. */
    function counted(key, count) {
        var rows = [], i;
        for (i = 0; key !== null && i < Math.max(count, 1); i++) {
            rows[i] = [typeof key === 'number' ? key + i : key];
        }
        return rows;
    }

    function Statement(connection) {
        host.define(this, 'connection', connection);
        host.define(this, 'result', null);
        host.define(this, 'keys', null);
        host.define(this, 'count', -1);
    }
    Statement.NO_GENERATED_KEYS = 0;
    Statement.RETURN_GENERATED_KEYS = 1;

    /** @returns {boolean} whether it gave rows */
    Statement.prototype.execute = function (sql, keys) {
        return perform(this, sql, [], keys).result !== null;
    };

    Statement.prototype.executeQuery = function (sql) {
        var result = perform(this, sql, []).result;
        return result || new ResultSet(this, [], []);
    };

    /** @returns {number} rows that were changed */
    Statement.prototype.executeUpdate = function (sql, keys) {
        return Math.max(perform(this, sql, [], keys).count, 0);
    };

    Statement.prototype.getConnection = function () {
        return this.connection;
    };

    /** A ResultSet, or null when none were asked for. */
    Statement.prototype.getGeneratedKeys = function () {
        return this.keys;
    };

    Statement.prototype.getResultSet = function () {
        return this.result;
    };

    /** -1 when it gave rows. */
    Statement.prototype.getUpdateCount = function () {
        return this.count;
    };

    Statement.prototype.close = function () {
        this.result = this.keys = null;
    };

    function PreparedStatement(connection, sql, keys) {
        Statement.call(this, connection);
        host.define(this, 'sql', String(sql));
        host.define(this, 'wanted', keys);
        host.define(this, 'values', []);
    }
    PreparedStatement.prototype = Object.create(Statement.prototype);

    function setter(convert) {
        return function (index, value) {
            if (!(index >= 1 && index <= 1000) || Math.floor(index) !== index) {
                throw new RangeError('parameters are counted from 1, not ' + index);
            }
            while (this.values.length < index) {
                this.values.push(null);
            }
            this.values[index - 1] = value === null || value === undefined ? null : convert(value);
        };
    }

    PreparedStatement.prototype.setNumber = setter(function (value) {
        if (typeof value !== 'number' && (typeof value !== 'string' || value.trim() === '' || isNaN(value))) {
            throw new TypeError('setNumber: ' + value + ' is no number');
        }
        return typeof value === 'number' ? value : Number(value);
    });
    PreparedStatement.prototype.setString = setter(String);
    PreparedStatement.prototype.setBoolean = setter(Boolean);
    PreparedStatement.prototype.setDate = setter(function (value) { return value instanceof Date ? value : new Date(value); });
    PreparedStatement.prototype.setBytes = setter(function (value) { return value; });
    PreparedStatement.prototype.setObject = setter(function (value) { return value; });
    PreparedStatement.prototype.setNull = function (index) {
        this.setString(index, null);
    };
    PreparedStatement.prototype.clearParameters = function () {
        this.values = [];
    };
    PreparedStatement.prototype.execute = function () {
        return perform(this, this.sql, this.values, this.wanted).result !== null;
    };
    PreparedStatement.prototype.executeQuery = function () {
        var result = perform(this, this.sql, this.values, false).result;
        return result || new ResultSet(this, [], []);
    };
    PreparedStatement.prototype.executeUpdate = function () {
        return Math.max(perform(this, this.sql, this.values, this.wanted).count, 0);
    };

    /* Before the first row at first. */
    function ResultSet(statement, columns, rows) {
        host.define(this, 'statement', statement);
        host.define(this, 'columns', columns);
        host.define(this, 'rows', rows);
        host.define(this, 'at', -1);
        host.define(this, 'last_', null);
    }

    function value(set, column) {
        var i = -1, row = set.rows[set.at], k;
        if (row === undefined) {
            throw new Error(set.at < 0 ? 'next() comes before the first row' : 'there is no further row');
        }
        if (typeof column === 'number') {
            i = column - 1;
        } else {
            for (k = 0; k < set.columns.length && i < 0; k++) {
                if (set.columns[k].toLowerCase() === String(column).toLowerCase()) {
                    i = k;
                }
            }
        }
        if (!(i >= 0 && i < set.columns.length)) {
            throw new RangeError('the result has no column ' + column);
        }
        set.last_ = row[i];
        return row[i];
    }

    ResultSet.prototype.next = function () {
        this.at = Math.min(this.at + 1, this.rows.length);
        return this.at < this.rows.length;
    };
    ResultSet.prototype.first = function () {
        this.at = 0;
        return this.rows.length > 0;
    };
    ResultSet.prototype.last = function () {
        this.at = Math.max(this.rows.length - 1, 0);
        return this.rows.length > 0;
    };
    /** A number; null for NULL. Decimals and whole numbers beyond 2^53 lose what a number cannot hold. */
    ResultSet.prototype.getNumber = function (column) {
        var found = value(this, column);
        return found === null ? null : found instanceof Date ? found.getTime() : Number(found);
    };
    ResultSet.prototype.getString = function (column) {
        var found = value(this, column);
        return found === null ? null : found instanceof Date ? found.toISOString() : String(found);
    };
    ResultSet.prototype.getBoolean = function (column) {
        var found = value(this, column);
        return found === null ? null : !(found === 0 || found === false || found === '' || /^(f|false|0|no|off)$/i.test(found));
    };
    ResultSet.prototype.getDate = function (column) {
        var found = value(this, column);
        return found === null || found instanceof Date ? found : new Date(found);
    };
    ResultSet.prototype.getBytes = function (column) {
        return value(this, column);
    };
    ResultSet.prototype.getObject = function (column) {
        return value(this, column);
    };
    /** Whether the column read last was NULL. */
    ResultSet.prototype.wasNull = function () {
        return this.last_ === null;
    };
    ResultSet.prototype.getColumnNames = function () {
        return this.columns.slice();
    };
    ResultSet.prototype.getStatement = function () {
        return this.statement;
    };
    ResultSet.prototype.close = function () {
        this.rows = [];
    };

    global.Connection = Connection;
    global.Statement = Statement;
    global.PreparedStatement = PreparedStatement;
    global.ResultSet = ResultSet;
}(this.host, this));
