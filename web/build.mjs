// Bundles the page into the Python package: one script and one style sheet, which the report carries inline.
// `node build.mjs FOLDER` writes them elsewhere, to compare.
import { build } from "esbuild";

const target = process.argv[2] ?? "../src/pretune/page/assets";

await build({
  entryPoints: { page: "src/main.tsx" },
  outdir: target,
  bundle: true,
  minify: true,
  format: "iife",
  target: ["es2023", "chrome123", "firefox120", "safari17.5"],
  charset: "utf8",
  legalComments: "none",
  jsx: "transform",
  jsxFactory: "jsxCall",
  jsxFragment: "jsxFragment",
  inject: ["src/jsx.ts"],
  tsconfigRaw: {},
});
