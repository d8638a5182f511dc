import { writeFileSync } from "node:fs";
import { machineOfHost } from "@iommu-lab/host";
import { Machine } from "@iommu-lab/hypervisor/machine";
import { createVms } from "@iommu-lab/hypervisor/vm";
import { formatAddress } from "@iommu-lab/pci-bus";
import { MachineError, parseMachine, type MachineDescription } from "@iommu-lab/pci-bus/machine";
import machineJsonSchema from "@iommu-lab/pci-bus/machine.schema.json" with { type: "json" };
import { CommandError, ExitCode } from "../exit-code.ts";
import { openSource } from "../input/open-source.ts";
import { readInput } from "../input/read-input.ts";
import { PciNames } from "../names/pci-ids.ts";
import { printable } from "../output/printable.ts";
import { print, printJson, warn } from "../output/style.ts";

/** Options of `iommu machine` as the parser gives them. */
export interface MachineCommandOptions {
  readonly from: string | undefined;
  readonly output: string | undefined;
  readonly schema: boolean;
  readonly json: boolean;
}

/** Builds what is described, to see that it can be, and tells what it is. */
interface ToldVm {
  readonly name: string;
  readonly pinnedPages: number;
  /** Device and function in the guest, in the order of the description. */
  readonly devices: readonly string[];
}

/** Builds the described VMs. A refusal of VFIO is a finding, in the kernel's words. */
const tellVms = (machine: Machine): { readonly vms: readonly ToldVm[]; readonly refusal: string | undefined } => {
  try {
    const vms = createVms(machine).map(({ vm, passthrough, places }) => ({ name: vm.name, pinnedPages: passthrough?.process.lockedPages ?? 0, devices: places.map((devfn) => formatAddress({ domain: 0, requester: devfn })) }));
    return { vms, refusal: undefined };
  } catch (error) {
    return { vms: [], refusal: error instanceof Error ? error.message : String(error) };
  }
};

const tellMachine = (description: MachineDescription, json: boolean): ExitCode => {
  let machine: Machine;
  try {
    machine = new Machine(description);
  } catch (error) {
    throw new CommandError(ExitCode.BadInput, `This machine cannot be built: ${error instanceof Error ? error.message : String(error)}`);
  }
  const { vms, refusal } = tellVms(machine);
  const code = refusal === undefined ? ExitCode.Fine : ExitCode.Finding;
  const groups = machine.kernel.groups.map(({ id, members }) => ({ id, functions: members.map(formatAddress) }));
  const { translation, passthrough, strict } = machine.kernel.options;
  if (json) {
    printJson({ name: description.name, functions: machine.placed.length, iommus: machine.units.map(({ vendor, registerBase }) => ({ vendor, registerBase: `0x${registerBase.toString(16)}` })), kernel: { version: description.kernel.version, translation, passthrough, strict }, shortages: machine.firmware.shortages.map(({ text }) => text), groups, vms, ...(refusal === undefined ? {} : { refusal }) });
    return code;
  }
  print(`${printable(description.name)}: ${machine.placed.length} functions, ${machine.units.length} ${machine.units.length === 1 ? "IOMMU" : "IOMMUs"}, ${Math.round(description.memory / 2 ** 20)} MiB, kernel ${printable(description.kernel.version)}; DMA is ${translation ? (passthrough ? "passed through for the host's devices" : `translated (${strict ? "strict" : "lazy"})`) : "not translated"}.`);
  for (const { text } of machine.firmware.shortages) warn(text);
  for (const { id, functions } of groups) print(`group ${id}: ${functions.join(" ")}`);
  for (const { name, pinnedPages, devices } of vms) print(`VM ${printable(name)}: ${devices.length === 0 ? "no devices" : `devices at ${devices.join(" ")}`}; ${pinnedPages === 0 ? "its memory is pinned by nobody" : `${pinnedPages} pages pinned for DMA`}`);
  if (refusal !== undefined) warn(`a VM cannot be had as described: ${refusal}`);
  return code;
};

const readDescription = async (path: string): Promise<MachineDescription> => {
  const { bytes } = await readInput(path);
  const text = new TextDecoder().decode(bytes);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new CommandError(ExitCode.BadInput, `${path} is no JSON: ${error instanceof Error ? error.message : String(error)}`);
  }
  try {
    return parseMachine(value);
  } catch (error) {
    if (error instanceof MachineError) throw new CommandError(ExitCode.BadInput, `${path} is no machine: ${error.message.replaceAll("\n", " ")}`);
    throw error;
  }
};

/** `iommu machine`: makes a machine.json of a host, or builds the machine of one and tells what it is. */
export const runMachine = async (file: string | undefined, options: MachineCommandOptions): Promise<ExitCode> => {
  if (options.schema) {
    printJson(machineJsonSchema);
    return ExitCode.Fine;
  }
  if (file !== undefined) {
    return tellMachine(await readDescription(file), options.json);
  }
  const names = PciNames.load();
  const [host, ...others] = await openSource(options.from, () => names);
  if (!host) throw new CommandError(ExitCode.NotEnough, "the source shows no host.");
  if (others.length > 0) warn(`the source holds ${others.length + 1} hosts; the first one is taken.`);
  const { machine, notes } = machineOfHost(host);
  const whole = { $schema: "https://iommu-lab.dev/machine.schema.json", ...machine };
  parseMachine(whole);
  for (const note of notes) warn(note);
  if (options.output === undefined) printJson(whole);
  else {
    try {
      writeFileSync(options.output, `${JSON.stringify(whole, undefined, 2)}\n`);
    } catch (error) {
      throw new CommandError(ExitCode.BadInput, `Cannot write ${options.output}: ${error instanceof Error ? error.message : String(error)}.`);
    }
    print(`${options.output}: ${host.functions.length} functions; iommu machine ${options.output} builds it.`);
  }
  return ExitCode.Fine;
};
