// Sql and the predecessor's API: what they ask for, and what they make of the answers of the test.

test("rows are objects, and moments are dates", function () {
    var rows = Sql.connect('sqlite:/rows').query('SELECT ?', [1, 'a', undefined, true, new Date(5), [1, null]]);
    same(rows[0].text, 'SELECT ?');
    same(rows[0].values, [1, 'a', null, true, { date: 5 }, [1, null]]);
    same([rows[0].when instanceof Date, rows[0].when.getTime(), rows[1].when], [true, 86400000, null]);
});

test("a change tells rows and key", function () {
    same(Sql.connect('sqlite:/change').execute('UPDATE'), { count: 3, key: 7 });
});

test("a database that is away and not needed gives null", function () {
    var db = Sql.connect('sqlite:/away', { away: 'accept' });
    same([db.query('x'), db.execute('x'), db.transaction(function () { return 5; })], [null, null, null]);
});

test("what cannot be a parameter", function () {
    var db = Sql.connect('sqlite:/rows');
    throws(function () { db.query('?', [NaN]); }, /cannot be NaN/);
    throws(function () { db.query('?', [function () {}]); }, /cannot be a function/);
    throws(function () { db.query('?', 'a'); }, /an array/);
    throws(function () { db.transaction(); }, /a function is needed/);
    throws(function () { Sql.connect('sqlite:/rows', { away: 'perhaps' }); }, /'tempfail', 'accept' or 'throw'/);
    throws(function () { Sql.connect('sqlite:/rows', { timeout: -1 }); }, /above 0/);
    throws(function () { Sql.connect('nothing'); }, /not the URL of a database/);
});

test("drivers of the policy's own go first", function () {
    DriverManager.registerDriver({
        acceptsURL: function (url) { return url.indexOf('mine:') === 0; },
        connect: function (url, info) { return url.indexOf('mine:') === 0 ? { mine: info.user } : null; }
    });
    same(DriverManager.getConnection('mine:x', 'me', 'secret').mine, 'me');
    same(DriverManager.getDriver('mine:x').acceptsURL('mine:'), true);
    same(DriverManager.getConnection('sqlite:/change') instanceof Connection, true);
    throws(function () { DriverManager.getDriver('other:x'); }, /no driver/);
    throws(function () { DriverManager.getConnection('sqlite:/x', 5); }, /user and password/);
});

test("parameters are counted from 1", function () {
    var statement = DriverManager.getConnection('sqlite:/rows').prepareStatement('SELECT ?, ?');
    statement.setString(2, 5);
    statement.setNumber(1, '2.5');
    var set = statement.executeQuery();
    same([set.next(), set.getObject('values')], [true, [2.5, '5']]);
    throws(function () { statement.setString(0, 'x'); }, /counted from 1/);
    throws(function () { statement.setNumber(1, 'x'); }, /no number/);
    throws(function () { set.getString('nowhere'); }, /no column/);
});
