const assert = require("assert");
const { apply } = require("./__ALGO__.js");

assert.strictEqual(apply("Jane"), "hello Jane");
console.log("ok");
