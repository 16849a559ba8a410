// The reference, installed for the interop tests; everything here measures that one copy.
const path = require('node:path')
const { createRequire } = require('node:module')

module.exports = createRequire(path.join(__dirname, '../interop/'))
