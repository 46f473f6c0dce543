// What esbuild turns elements into: these calls are some kilobytes shorter than those of the automatic runtime. The names
// are ones that no component uses for a variable of its own, which would then be called instead.
export { Fragment as jsxFragment, h as jsxCall } from "preact";
