/** The address of a worker's script, bundled by itself. */
declare module "*?worker&url" {
  const url: string;
  export default url;
}

/** Declaration files by path; experiment-types/plugin.ts makes it. */
declare module "virtual:experiment-types" {
  export const FILES: Readonly<Record<string, string>>;
}

/** The run of the first screen as JSON has it; first-run/plugin.ts makes it. */
declare module "virtual:first-run" {
  export const RUN: unknown;
}
