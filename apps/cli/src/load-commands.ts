/**
 * The commands' code, loaded when one runs. From sources it is a module like any other; the build puts it into
 * main.js as text that is compiled on first use (lazy-commands.ts), so that `--help` does not pay for all of it.
 */
export const loadCommands = async () => import("./commands/index.ts");
