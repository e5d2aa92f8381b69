module.exports = {name: 'first', file: __filename, folder: __dirname};
