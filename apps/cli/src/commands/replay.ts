import { replay, requestsBehind, TraceError, type ReplayReport } from "@iommu-lab/hypervisor/replay";
import type { CachePolicy } from "@iommu-lab/pci-bus";
import { CommandError, ExitCode } from "../exit-code.ts";
import { traceFiles, traceLines, type TraceFile } from "../input/trace-files.ts";
import { replayJson, replayText, type ReplayedFile } from "../output/replay-text.ts";
import { print, printJson } from "../output/style.ts";

/** Options of `iommu replay` as the parser gives them. */
export interface ReplayCommandOptions {
  readonly caches: string | undefined;
  readonly json: boolean;
}

const CACHES: readonly CachePolicy[] = ["none", "realistic", "adversarial"];

const cachesOf = (text: string | undefined): CachePolicy => {
  const policy = text === undefined ? "realistic" : CACHES.find((name) => name === text);
  if (policy === undefined) throw new CommandError(ExitCode.BadInput, `--caches takes ${CACHES.join(", ")}; "${text ?? ""}" is none of them.`);
  return policy;
};

const replayFile = async ({ path, again }: TraceFile, caches: CachePolicy, explained: boolean): Promise<ReplayReport> => {
  try {
    const report = await replay(traceLines(path), { caches });
    if (report.mismatches.length === 0 || !again || !explained) return report;
    // The same state again, this time with reasons: they cost time, and the fast way is what is to be tested.
    const { explanations } = await replay(traceLines(path), { caches, explain: requestsBehind(report.mismatches) });
    return { ...report, explanations };
  } catch (error) {
    throw error instanceof TraceError ? new CommandError(ExitCode.BadInput, `${path}:${error.line}: ${error.message}.`) : error;
  }
};

/** `iommu replay`: recorded machine traces on the models; every observation compared. */
export const runReplay = async (paths: readonly string[], options: ReplayCommandOptions): Promise<ExitCode> => {
  const caches = cachesOf(options.caches);
  const files = traceFiles(paths);
  const progress = process.stderr.isTTY && files.length > 1;
  const replayed: ReplayedFile[] = [];
  try {
    for (const file of files) {
      if (progress) process.stderr.write(`\rreplaying trace ${replayed.length + 1} of ${files.length}`);
      replayed.push({ file: file.path, report: await replayFile(file, caches, !options.json) });
    }
  } finally {
    if (progress) process.stderr.write("\r\u001b[K");
  }
  if (options.json) printJson(replayJson(replayed));
  else print(replayText(replayed));
  return replayed.some(({ report }) => report.mismatches.length > 0) ? ExitCode.Finding : ExitCode.Fine;
};
