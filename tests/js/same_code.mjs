// Are pairs of files the same program? node same_code.mjs before.js after.js ...: syntax trees without places and comments.
import { readFileSync } from "node:fs";
import ts from "typescript";

function tree(path) {
  const source = ts.createSourceFile(path, readFileSync(path, "utf8"), ts.ScriptTarget.Latest, false, ts.ScriptKind.JS);
  if (source.parseDiagnostics.length) throw new Error(`${path}: ${source.parseDiagnostics[0].messageText}`);
  const lines = [];
  const visit = (node, depth) => {
    lines.push(`${" ".repeat(depth)}${ts.SyntaxKind[node.kind]} ${node.flags & 7} ${node.operator ?? ""} ${node.rawText ?? node.text ?? ""}`);
    ts.forEachChild(node, (child) => visit(child, depth + 1));
  };
  ts.forEachChild(source, (child) => visit(child, 0));
  return lines;
}

const paths = process.argv.slice(2);
for (let i = 0; i < paths.length; i += 2) {
  const [before, after] = [tree(paths[i]), tree(paths[i + 1])];
  const at = before.findIndex((line, j) => line !== after[j]);
  if (at >= 0 || before.length !== after.length) {
    console.log(`${paths[i]}, node ${at}: ${JSON.stringify(before[at])} became ${JSON.stringify(after[at])}`);
    process.exitCode = 1;
  }
}
console.log(`${paths.length / 2} compared`);
