import type { HostSnapshot } from "@iommu-lab/host";
import { ASSUMPTIONS, DISTROS, GUEST_IOMMUS, GUESTS, makePlan, parseLibvirtVersion, TARGETS, type MissingFact, type PlanRequest } from "@iommu-lab/host/plan";
import { formatAddress, type FunctionAddress } from "@iommu-lab/pci-bus";
import { CommandError, ExitCode } from "../exit-code.ts";
import { devicesFrom } from "../input/device-list.ts";
import { openSource } from "../input/open-source.ts";
import { PciNames } from "../names/pci-ids.ts";
import { requireEmpty, writePlanFolder } from "../output/plan-folder.ts";
import { findingText, planText } from "../output/plan-text.ts";
import { printable } from "../output/printable.ts";
import { print, printJson, warn } from "../output/style.ts";

/** Options of `iommu plan` as the parser gives them. */
export interface PlanOptions {
  readonly from: string | undefined;
  readonly devices: readonly string[];
  readonly distro: string | undefined;
  readonly target: string | undefined;
  readonly libvirtVersion: string | undefined;
  readonly guest: string | undefined;
  readonly guestIommu: string | undefined;
  readonly memory: string | undefined;
  readonly hugepages: boolean;
  readonly assume: readonly string[];
  readonly out: string | undefined;
  readonly json: boolean;
}

const bad = (message: string): CommandError => new CommandError(ExitCode.BadInput, message);

const oneOf = <T extends string>(option: string, values: readonly T[], text: string | undefined, fallback?: T): T => {
  const value = text === undefined ? fallback : values.find((each) => each === text);
  if (value === undefined) throw bad(`${option} takes one of ${values.join(", ")}${text === undefined ? "" : `; "${text}" is none of them`}.`);
  return value;
};

const parts = (texts: readonly string[]): string[] => texts.flatMap((text) => text.split(",")).filter((text) => text !== "");

const devicesOf = (texts: readonly string[], snapshot: HostSnapshot): FunctionAddress[] => {
  const devices = devicesFrom(texts, snapshot, undefined);
  if (!devices) throw bad("Say what to assign: iommu plan --device 01:00.0. iommu groups lists what there is.");
  return devices;
};

const [LEAST_MEMORY, MOST_MEMORY] = [64, 16 * 1024 * 1024];

const parseMemory = (text: string | undefined): number | undefined => {
  if (text === undefined) return undefined;
  const memory = /^\d{1,8}$/.test(text) ? Number(text) : Number.NaN;
  if (!(memory >= LEAST_MEMORY && memory <= MOST_MEMORY)) throw bad(`--memory takes MiB, from ${LEAST_MEMORY} to ${MOST_MEMORY}; "${text}" is not that.`);
  return memory;
};

const requestOf = (options: PlanOptions): Omit<PlanRequest, "devices"> => {
  const libvirt = parseLibvirtVersion(options.libvirtVersion ?? "9.0");
  if (!libvirt) throw bad(`--libvirt-version takes a version such as 9.0, from 5.2 on; "${options.libvirtVersion ?? ""}" is none.`);
  const memory = parseMemory(options.memory);
  return {
    distro: oneOf("--distro", DISTROS, options.distro),
    target: oneOf("--target", TARGETS, options.target),
    libvirt,
    guest: oneOf("--guest", GUESTS, options.guest, "linux"),
    guestIommu: oneOf("--guest-iommu", GUEST_IOMMUS, options.guestIommu, "none"),
    hugepages: options.hugepages,
    ...(memory === undefined ? {} : { memory }),
    assume: new Set(parts(options.assume).map((text) => oneOf("--assume", ASSUMPTIONS, text))),
  };
};

/** Why there is no plan, a line each on standard error. */
const complain = (head: string, lines: readonly string[]): void => {
  process.stderr.write(`iommu: ${head}; nothing was written.\n${lines.map((line) => `  ${printable(line)}\n`).join("")}`);
};

const missingText = ({ key, text }: MissingFact): string => `not shown: ${text}${key === undefined ? "" : ` If you know that it is well: --assume ${key}`}`;

/** Writes a plan's files, or says why there are none. */
const conclude = (result: ReturnType<typeof makePlan>, origin: string, out: string, json: boolean): ExitCode => {
  switch (result.kind) {
    case "unknown-function":
      throw bad(`${formatAddress(result.address)} is not in ${origin}. iommu pci lists what is there.`);
    case "refusal":
      complain("this cannot be assigned", result.blockers.map(findingText));
      return ExitCode.Refused;
    case "not-enough-data":
      complain("too little is known for a plan", result.missing.map(missingText));
      return ExitCode.NotEnough;
    case "plan":
      writePlanFolder(out, result.files);
      if (json) printJson({ out, functions: result.functions.map(formatAddress), files: result.files.map(({ path }) => path), host: result.host, cautions: result.cautions });
      else print(planText(result, out));
      return result.host.length > 0 ? ExitCode.Finding : ExitCode.Fine;
  }
};

/** `iommu plan`: everything it takes to assign functions, as files; the running system stays as it is. */
export const runPlan = async (options: PlanOptions): Promise<ExitCode> => {
  if (options.out === undefined) throw bad("Say where to write: iommu plan --out FOLDER.");
  const request = requestOf(options);
  requireEmpty(options.out);
  const snapshots = await openSource(options.from, () => PciNames.load());
  const [snapshot, another] = snapshots;
  if (!snapshot || another) throw bad(`${options.from ?? "The input"} holds ${snapshots.length} hosts; a plan is for one.`);
  for (const text of snapshot.warnings) warn(text);
  return conclude(makePlan(snapshot, { ...request, devices: devicesOf(options.devices, snapshot) }), snapshot.origin, options.out, options.json);
};
