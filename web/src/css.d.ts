// esbuild gathers the style sheets that the components import.
declare module "*.css";
