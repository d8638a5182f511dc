import { randomFillSync } from "node:crypto";
import { EduFunction, virtioBlock, virtioEntropy, VirtioFunction, type BlockBackend, type EduInterrupts, type VirtioConsole } from "@iommu-lab/hypervisor/devices";
import type { IommuChoice, Seat } from "@iommu-lab/hypervisor/board";
import { INJECTIONS, type InjectedFault, type Injection } from "@iommu-lab/hypervisor/faults";
import { CommandError, ExitCode } from "../exit-code.ts";

const refuse = (text: string): never => {
  throw new CommandError(ExitCode.BadInput, text);
};

/** `name,key=value,…` as QEMU writes its options; a key alone is on. */
const parseOption = (what: string, text: string): { readonly name: string; readonly values: ReadonlyMap<string, string> } => {
  const [name = "", ...parts] = text.split(",");
  const values = new Map<string, string>();
  for (const part of parts) {
    const [key = "", value = "on"] = part.split("=", 2);
    if (values.has(key)) refuse(`${what} ${text}: ${key} is given twice.`);
    values.set(key, value);
  }
  return { name, values };
};

const onOff = (what: string, text: string): boolean => (text === "on" ? true : text === "off" ? false : refuse(`${what} is on or off, not "${text}".`));
const oneOf = <T extends string>(what: string, text: string, choices: readonly T[]): T => choices.find((choice) => choice === text) ?? refuse(`${what} is one of ${choices.join(", ")}, not "${text}".`);

const VENDORS = ["intel", "amd"] as const;

/** `--iommu`: a vendor and what of its IOMMU is on. @throws CommandError */
export const iommuOption = (text: string): IommuChoice => {
  const { name, values } = parseOption("--iommu", text);
  let choice: IommuChoice = { vendor: oneOf("--iommu", name, VENDORS) };
  for (const [key, value] of values)
    switch (key) {
      case "intremap":
        choice = { ...choice, interruptRemapping: onOff(key, value) };
        break;
      case "caching-mode":
        choice = { ...choice, cachingMode: onOff(key, value) };
        break;
      case "scalable":
        choice = { ...choice, scalable: onOff(key, value) };
        break;
      case "superpages":
        choice = { ...choice, superpages: onOff(key, value) };
        break;
      case "levels":
        choice = { ...choice, levels: oneOf(key, value, ["4", "5"]) === "5" ? 5 : 4 };
        break;
      case "caches":
        choice = { ...choice, caches: oneOf(key, value, ["none", "realistic", "adversarial"]) };
        break;
      default:
        refuse(`--iommu has no option "${key}"; there are intremap, caching-mode, scalable, superpages, levels and caches.`);
    }
  return choice;
};

/** What a device needs of its surroundings. */
export interface DeviceSurroundings {
  readonly disk: BlockBackend;
  readonly console: VirtioConsole;
}

const DEVICES = ["virtio-rng", "virtio-blk", "virtio-console", "edu"] as const;
const DEFAULT_DEVICES = ["virtio-rng", "virtio-blk", "virtio-console", "edu"];
/** The first device number on bus 0: below are the host bridge and an AMD IOMMU. */
const FIRST_DEVICE = 5;
const LAST_DEVICE = 0x1c;

/** `--device`, each once; by default one of each kind. Makes them anew at every call. @throws CommandError */
export const deviceOptions = (texts: readonly string[]): ((surroundings: DeviceSurroundings) => readonly Seat[]) => {
  const wanted = (texts.length === 0 ? DEFAULT_DEVICES : texts).map((text) => {
    const { name, values } = parseOption("--device", text);
    const kind = oneOf("--device", name, DEVICES);
    for (const key of values.keys()) if (kind !== "edu" || key !== "interrupts") refuse(`--device ${kind} has no option "${key}".${kind === "edu" ? " There is interrupts=msi|msix." : ""}`);
    return { kind, interrupts: oneOf<EduInterrupts>("interrupts", values.get("interrupts") ?? "msi", ["msi", "msix"]) };
  });
  if (wanted.length > LAST_DEVICE - FIRST_DEVICE + 1) refuse(`${wanted.length} devices do not fit bus 0; at most ${LAST_DEVICE - FIRST_DEVICE + 1} do.`);
  return ({ disk, console }) =>
    wanted.map(({ kind, interrupts }, i): Seat => {
      const devfn = (FIRST_DEVICE + i) << 3;
      switch (kind) {
        case "virtio-rng":
          return { devfn, fn: new VirtioFunction(virtioEntropy((into) => randomFillSync(into))) };
        case "virtio-blk":
          return { devfn, fn: new VirtioFunction(virtioBlock(disk)) };
        case "virtio-console":
          return { devfn, fn: new VirtioFunction(console) };
        case "edu":
          return { devfn, fn: new EduFunction({ interrupts }) };
      }
    });
};

const KINDS = Object.keys(INJECTIONS) as Injection[];

/** `--inject-fault`: a kind, then which occasions. @throws CommandError */
export const faultOption = (text: string): InjectedFault => {
  const { name, values } = parseOption("--inject-fault", text);
  const kind = oneOf("--inject-fault", name, KINDS);
  let fault: InjectedFault = { kind };
  for (const [key, value] of values) {
    const number = Number(value);
    if (!Number.isInteger(number) || number < 0) refuse(`--inject-fault ${kind}: ${key} is a number, not "${value}".`);
    if (key === "after" || key === "count" || (key === "delay" && kind === "delay-invalidation")) fault = { ...fault, [key]: number };
    else refuse(`--inject-fault ${kind} has no option "${key}"; there are after and count${kind === "delay-invalidation" ? ", and delay in milliseconds" : ""}.`);
  }
  return fault;
};
