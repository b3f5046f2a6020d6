// Khronos glTF Validator on files: node tools/validator/validate_glb.mjs [--modules FOLDER] FILE...
// One JSON report a line; status 1 where a file has an error or a warning. The validator itself comes from npm
// (tools/validator/package.json): `npm ci` in a folder with these two files, given as --modules, or in this one.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join, resolve } from "node:path";

const files = process.argv.slice(2);
let modules = import.meta.dirname ?? new URL(".", import.meta.url).pathname;
if (files[0] === "--modules") modules = resolve(files.splice(0, 2)[1]);
const { validateBytes } = createRequire(join(modules, "package.json"))("gltf-validator");

let unsound = false;
for (const file of files) {
  const report = await validateBytes(new Uint8Array(readFileSync(file)), { maxIssues: 100, uri: file });
  unsound ||= report.issues.numErrors > 0 || report.issues.numWarnings > 0;
  console.log(JSON.stringify(report));
}
process.exitCode = unsound ? 1 : 0;
