/**
 * Ground truth that lies beside the repository, not in it: recorded hosts, real lspci texts, firmware tables.
 * A clone without it skips those suites and says so; the gate (.ci/run) sets IOMMU_LAB_REQUIRE_SHARED and fails.
 */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";
import { createTarDecoder } from "modern-tar";

const folder = new URL("../../shared/", import.meta.url);

/** Whether the ground truth is there. @throws Error when it is missing although the gate requires it */
export const hasShared = (): boolean => {
  if (existsSync(folder)) return true;
  if (process.env.IOMMU_LAB_REQUIRE_SHARED) throw new Error("The recorded ground truth (../shared beside the repository) is missing.");
  return false;
};

/** Why a suite that needs it is skipped: part of the suite's name. */
export const skippedWithoutShared = hasShared() ? "" : " (skipped: no ../shared beside the repository)";

export const readShared = (path: string): Uint8Array => readFileSync(new URL(path, folder));

export const listShared = (path: string, ending: string): string[] =>
  hasShared()
    ? readdirSync(new URL(path, folder))
        .filter((name) => name.endsWith(ending))
        .sort()
    : [];

/** One file of a recorded host's archive, such as `lspci-vvv-nn-xxxx.txt`. */
export const readFromSnapshot = async (archive: string, path: string): Promise<Uint8Array> => {
  const bytes = gunzipSync(readShared(`snapshots/${archive}`));
  const entries = new Blob([new Uint8Array(bytes)]).stream().pipeThrough(createTarDecoder());
  for await (const entry of entries) {
    if (entry.header.name.replace(/^\.\//, "") === path) return new Uint8Array(await new Response(entry.body).arrayBuffer());
    await entry.body.cancel();
  }
  throw new Error(`${archive} holds no ${path}.`);
};
