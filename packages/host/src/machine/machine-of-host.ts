import { formatAddress } from "@iommu-lab/pci-bus";
import type { MachineInput } from "@iommu-lab/pci-bus/machine";
import type { HostSnapshot } from "../snapshot.ts";
import { readText } from "../tree/file-tree.ts";
import { MachineFunctions } from "./machine-functions.ts";
import { machineIommus } from "./machine-iommus.ts";

/** A machine made from a host, and what of the host it does not have. */
export interface MachineOfHost {
  readonly machine: MachineInput;
  /** Sentences. */
  readonly notes: readonly string[];
}

/** Where nothing is known. */
const ASSUMED = { memory: 2 ** 32, processors: 4, kernel: "6.12" } as const;
const MEMORY_STEP = 2 ** 28;
const MOST_PROCESSORS = 1024;

const memoryOf = ({ files, dmesg }: HostSnapshot): number | undefined => {
  const total = /^MemTotal:\s+(\d+) kB/m.exec((files && readText(files, "proc/meminfo")) ?? "")?.[1] ?? /Memory: \d+K\/(\d+)K available/.exec(dmesg ?? "")?.[1];
  return total === undefined ? undefined : Math.min(2 ** 46, Math.ceil((Number(total) * 1024) / MEMORY_STEP) * MEMORY_STEP);
};

const processorsOf = ({ files }: HostSnapshot): number | undefined => {
  const found = (files && readText(files, "proc/cpuinfo"))?.match(/^processor\s*:/gm)?.length;
  return found ? Math.min(found, MOST_PROCESSORS) : undefined;
};

/** The command line, with what the kernel was built to do said aloud: some distributions build it with Intel's IOMMU on. */
const commandLineOf = ({ commandLine = "", groups, acpi }: HostSnapshot): string => (acpi.has("DMAR") && groups && !/(?:^|\s)intel_iommu=/.test(commandLine) ? `${commandLine} intel_iommu=on`.trim() : commandLine);

const isUefi = ({ files, dmesg }: HostSnapshot): boolean => (files?.list("sys/firmware/efi").length ?? 0) > 0 || /^\[\s*\d+\.\d+\] efi: (?:EFI|UEFI) v/m.test(dmesg ?? "");

/**
 * Describes a host as a machine, so that the model that runs is that host: its functions with their configuration space and the
 * sizes of their BARs, where they are plugged in, IOMMUs and reserved memory as firmware's tables say, memory, kernel and command line.
 */
export const machineOfHost = (host: HostSnapshot): MachineOfHost => {
  const { iommus, reserved, notes } = machineIommus(host);
  const functions = new MachineFunctions(host.functions, iommus.flatMap((each) => (each.function === undefined ? [] : [each.function])));
  const hostBridges = functions.hostBridges();
  const boot = host.functions.find(({ bootVga }) => bootVga);
  const memory = memoryOf(host);
  const processors = processorsOf(host);
  const kernel = /^\d+\.\d+/.exec(host.kernelRelease ?? "")?.[0];
  const assumed = [memory === undefined ? "4 GiB of memory" : "", processors === undefined ? "4 processors" : "", kernel === undefined ? `kernel ${ASSUMED.kernel}` : ""].filter((text) => text !== "");
  return {
    machine: {
      format: "iommu-lab-machine",
      version: 1,
      name: host.origin,
      provenance: `Made from ${host.origin}`,
      kernel: { version: host.kernelRelease !== undefined && kernel !== undefined ? host.kernelRelease : ASSUMED.kernel, commandLine: commandLineOf(host) },
      firmware: { kind: isUefi(host) ? "uefi" : "bios", ...(boot ? { bootDisplay: formatAddress(boot.address) } : {}) },
      processors: { count: processors ?? ASSUMED.processors, apic: /x2apic (?:mode|enabled)/i.test(host.dmesg ?? "") && !(host.dmesg ?? "").includes('Enabled IRQ remapping in xapic mode') ? "x2apic" : "xapic" },
      memory: `0x${(memory ?? ASSUMED.memory).toString(16)}`,
      iommus,
      ...(reserved.length > 0 ? { reserved } : {}),
      hostBridges: hostBridges.length > 0 ? hostBridges : [{ functions: [] }],
    },
    notes: [...functions.notes, ...notes, ...(assumed.length > 0 ? [`Not shown by the source, so assumed: ${assumed.join(", ")}.`] : [])],
  };
};
