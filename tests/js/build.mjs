// Build the browser code: node build.mjs [OUT [RENDERER ...]]
// Every renderer of featgeom/static (a file that exports `mount`) becomes one module and one style sheet in
// featgeom/static/built, which is what the package reads. The module serves both hosts: its default export is for
// anywidget, and in a saved page it starts by itself.
import { build, transform } from "esbuild";
import { existsSync, mkdirSync, readFileSync, readdirSync, renameSync, writeFileSync } from "node:fs";
import { basename, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const STATIC = resolve(fileURLToPath(import.meta.url), "../../../featgeom/static");
const TARGET = "es2022";

function renderers() {
  const paths = readdirSync(STATIC).filter((o) => o.endsWith(".js")).sort().map((o) => join(STATIC, o));
  return paths.filter((path) => /^export (async )?function mount\(/m.test(readFileSync(path, "utf8")));
}

/** The module of a renderer, and the paths of all that it is made of, first what others need. */
async function code(path) {
  const from = (file) => JSON.stringify(file.startsWith(STATIC) ? `./${basename(file)}` : file);
  const entry = `import { mount } from ${from(path)};\nimport { live, page } from "./host.js";\n`
    + "export default live(mount);\n"
    + `page(mount, ${JSON.stringify(basename(path, ".js"))});\n`;
  const out = await build({
    stdin: { contents: entry, resolveDir: STATIC, sourcefile: "entry.js" }, absWorkingDir: STATIC,
    bundle: true, minify: true, format: "esm", target: TARGET, charset: "ascii", legalComments: "none",
    metafile: true, write: false, outfile: "out.js", logLevel: "silent",
  });
  const parts = Object.keys(Object.values(out.metafile.outputs)[0].inputs).map((o) => resolve(STATIC, o));
  return { text: out.outputFiles[0].text, parts };
}

/** The shared style sheet, then those beside the files of the bundle. */
async function styles(parts) {
  const paths = new Set([join(STATIC, "kit.css"), ...parts.map((o) => o.replace(/\.js$/, ".css"))]);
  const text = [...paths].filter((o) => existsSync(o)).map((o) => readFileSync(o, "utf8")).join("");
  return (await transform(text, { loader: "css", minify: true, charset: "ascii", legalComments: "none" })).code;
}

/** All at once, so that nobody reads half a file. */
function write(path, text) {
  const odd = /<\/script|<!--|<\/style/i.exec(text);   // the text stands inside these elements of a page
  if (odd) throw new Error(`${basename(path)} would contain ${odd[0]}: split that string.`);
  writeFileSync(`${path}.${process.pid}`, text);
  renameSync(`${path}.${process.pid}`, path);
}

const [out = join(STATIC, "built"), ...named] = process.argv.slice(2);
mkdirSync(out, { recursive: true });
try {
  for (const path of named.length ? named.map((o) => resolve(o)) : renderers()) {
    const { text, parts } = await code(path), name = basename(path, ".js");
    const css = await styles(parts);
    write(join(out, `${name}.js`), text);
    write(join(out, `${name}.css`), css);
    console.log(`${name}: ${(text.length / 1000).toFixed(1)} kB of code, ${(css.length / 1000).toFixed(1)} kB of styles`);
  }
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
}
