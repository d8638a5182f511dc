/** Runs the command from its sources, as a child process of its own, without this process's colours and terminal. */
import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";

const main = fileURLToPath(new URL("../src/main.ts", import.meta.url));

export interface Run {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunOptions {
  readonly stdin?: string | Uint8Array;
  readonly env?: Readonly<Record<string, string>>;
  /** The reader of standard output goes away before anything is written. */
  readonly closeStdout?: boolean;
}

/** Makes runs share compiled code in a folder; most of a short run is else spent on compiling the sources. */
export const shareCompiled = (folder: string): void => {
  compileCache = folder;
};
let compileCache: string | undefined;

export const iommu = async (args: readonly string[], { stdin, env = {}, closeStdout = false }: RunOptions = {}): Promise<Run> =>
  new Promise((resolve, reject) => {
    const child = spawn(process.execPath, ["--conditions=@iommu-lab/source", "--no-warnings", main, ...args], { env: { PATH: process.env.PATH ?? "", ...(compileCache === undefined ? {} : { NODE_COMPILE_CACHE: compileCache }), ...env }, stdio: ["pipe", "pipe", "pipe"] });
    const [out, err]: [Uint8Array[], Uint8Array[]] = [[], []];
    if (closeStdout) child.stdout.destroy();
    else child.stdout.on("data", (part: Uint8Array) => out.push(part));
    child.stderr.on("data", (part: Uint8Array) => err.push(part));
    // A command that fails early does not read what it was given.
    child.stdin.on("error", () => undefined);
    child.stdin.end(stdin ?? "");
    child.on("error", reject);
    child.on("close", (code) => {
      resolve({ code, stdout: Buffer.concat(out).toString(), stderr: Buffer.concat(err).toString() });
    });
  });
