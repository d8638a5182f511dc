/** The real lspci as a judge of decoded fields: only the version whose words the tables know. */
import { spawnSync } from "node:child_process";
import { runLspci } from "../../../../test/lspci.ts";

const version = (): string => /version (\S+)/.exec(spawnSync("lspci", ["--version"], { encoding: "utf8" }).stdout)?.[1] ?? "";

/** Empty when the tool is there, else why not. The words of other versions differ from those in the tables. */
export const missingLspci = (): string => {
  const found = spawnSync("lspci", ["--version"]).error ? "" : version();
  if (found.startsWith("3.9")) return "";
  const reason = found === "" ? "no lspci" : `lspci is ${found}, the tables are for 3.9`;
  if (process.env.IOMMU_LAB_REQUIRE_TOOLS) throw new Error(`${reason}, but IOMMU_LAB_REQUIRE_TOOLS is set.`);
  return reason;
};

/** What `lspci -nn -vvv -xxxx` says of functions given as hex dumps. */
export const readWithLspci = (dump: string): string => runLspci(dump, "-nn", "-vvv", "-xxxx");
