import type { PlayedRun } from "./play.ts";

/** The run as `iommu run --trace` writes it. */
export const exportRun = ({ events, result }: PlayedRun): string =>
  [{ format: "iommu-lab-run", version: 1 }, ...events, { kind: "result", result }].map((line) => `${JSON.stringify(line)}\n`).join("");

/** Reads a run's file. What reads it comes when it is needed. @throws RunError that names the line */
export const importRun = async (text: string): Promise<PlayedRun> => {
  const { openRun } = await import("./open-run.ts");
  return openRun(text);
};
