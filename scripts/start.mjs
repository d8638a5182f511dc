// `npm start [-- ARGS]`: installs and builds what is missing, then runs `iommu ARGS` where the user stands.
// Plain JavaScript for the Node that is there; the program itself runs on the Node that the workspace brings along.
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const { packageManager } = JSON.parse(readFileSync(`${root}/package.json`, "utf8"));
const windows = process.platform === "win32";

const build = spawnSync("npx", ["--yes", packageManager, "run", "build", "--output-logs=errors-only"], { cwd: root, shell: windows, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"], env: { ...process.env, TURBO_TELEMETRY_DISABLED: "1" } });
if (build.status !== 0) {
  process.stderr.write(`${build.stdout ?? ""}${build.stderr ?? ""}\nInstalling or building failed; the lines above say why. A network connection to the npm registry is needed the first time.\n`);
  process.exit(build.status ?? 1);
}

const bundledNode = `${root}/node_modules/.bin/node`;
const node = !windows && existsSync(bundledNode) ? bundledNode : process.execPath;
const args = process.argv.slice(2);
const run = spawnSync(node, [`${root}/apps/cli/dist/main.js`, ...(args.length > 0 ? args : ["demo"])], { cwd: process.env.INIT_CWD ?? process.cwd(), stdio: "inherit" });
process.exit(run.status ?? 1);
