/** The address of a worker's script, bundled by itself. */
declare module "*?worker&url" {
  const url: string;
  export default url;
}

/** Declaration files by path; experiment-types/plugin.ts makes it. */
declare module "virtual:experiment-types" {
  export const FILES: Readonly<Record<string, string>>;
}
