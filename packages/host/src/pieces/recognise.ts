import { looksLikeDomainXml, parseDomainXml, DomainXmlError } from "../doctor/domain-xml.ts";
import type { GuestDomain } from "../doctor/guest-domain.ts";
import { looksLikeQemuCommand, parseQemuCommand } from "../doctor/qemu-command.ts";
import { looksLikeLspci, parseLspci } from "../lspci/parse-lspci.ts";
import { lspciSnapshot, type IdsByName } from "../lspci/to-snapshot.ts";
import type { HostSnapshot } from "../snapshot.ts";

/** What one text turned out to hold; a text may hold several things at once. */
export interface Recognised {
  /** In words, for people: "lspci", "kernel log", "/proc/cmdline". */
  readonly kinds: readonly string[];
  /** Machines with functions, from lspci or listings of groups. */
  readonly hosts: readonly HostSnapshot[];
  readonly guests: readonly GuestDomain[];
  readonly dmesg?: string | undefined;
  readonly commandLine?: string | undefined;
  readonly kernelRelease?: string | undefined;
  /** Texts of files by path. */
  readonly files: Readonly<Record<string, string>>;
  readonly warnings: readonly string[];
}

/** Longest text that is looked at. */
const LONGEST = 64 * 1024 * 1024;

/** Texts of known files: the lines that belong to one, wherever they stand in a paste. */
const LINES: readonly { readonly kind: string; readonly path: string; readonly sign: RegExp; readonly line: RegExp }[] = [
  { kind: "/proc/cpuinfo", path: "proc/cpuinfo", sign: /^vendor_id[ \t]*:/m, line: /^(?:processor|vendor_id|cpu family|model|model name|stepping|flags|address sizes|bugs)[ \t]*:/ },
  { kind: "/proc/meminfo", path: "proc/meminfo", sign: /^MemTotal:[ \t]+\d+ kB/m, line: /^[A-Z]\w{2,30}(?:\(\w{1,10}\))?:[ \t]+\d+(?: kB)?[ \t]*$/ },
  { kind: "/proc/interrupts", path: "proc/interrupts", sign: /^[ \t]*\d{1,4}:(?:[ \t]+\d+)+[ \t]+(?:IR-)?(?:PCI-MSIX?|IO-APIC)\b/m, line: /^[ \t]*\w{1,4}:(?:[ \t]+\d+)+[ \t]+\S/ },
  { kind: "/proc/iomem", path: "proc/iomem", sign: /^[0-9a-f]{8,16}-[0-9a-f]{8,16} : (?:Reserved|System RAM|PCI Bus)/m, line: /^[ ]{0,20}[0-9a-f]{8,16}-[0-9a-f]{8,16} : / },
  { kind: "/proc/mounts", path: "proc/mounts", sign: /^\S{1,200} \/ \w{1,20} (?:rw|ro)\b/m, line: /^\S{1,200} \/\S{0,200} \w{1,20} (?:rw|ro)\b/ },
  { kind: "/proc/modules", path: "proc/modules", sign: /^\w{1,60} \d{1,10} \d{1,6} \S{1,400} Live 0x/m, line: /^\w{1,60} \d{1,10} \d{1,6} \S{1,400} (?:Live|Loading) 0x/ },
  { kind: "modprobe.d", path: "etc/modprobe.d/pasted.conf", sign: /^[ \t]*(?:options|softdep|blacklist)[ \t]+[\w-]{1,60}/m, line: /^[ \t]*(?:options|softdep|blacklist)[ \t]+[\w-]{1,60}/ },
  { kind: "ls -l /dev/vfio", path: "dev/vfio.ls", sign: /^c[rwx-]{9}\S?[ \t].{1,80}[ \t]vfio$/m, line: /^c[rwx-]{9}\S?[ \t].{1,80}[ \t](?:vfio|\d{1,6})$/ },
  { kind: "kernel configuration", path: "proc/config", sign: /^CONFIG_\w{1,80}=/m, line: /^(?:# )?CONFIG_\w{1,80}[= ]/ },
];

const filesOf = (text: string): { readonly kinds: string[]; readonly files: Record<string, string> } => {
  const kinds: string[] = [];
  const files: Record<string, string> = {};
  const found = LINES.filter(({ sign }) => sign.test(text));
  for (const { kind, path, line } of found) {
    kinds.push(kind);
    files[path] = text.split("\n").filter((each) => each.length < 20_000 && line.test(each)).join("\n");
  }
  return { kinds, files };
};

/** A line that only kernels write: a time since boot and a known word, or the first line of all. */
const LOG = /^(?:<\d>)?\[ {0,5}\d{1,9}\.\d{6}\]|\bkernel: |Linux version \d+\.\d+|\b(?:DMAR(?:-IR)?|AMD-Vi|vfio-pci [0-9a-f:.]{7,16}|iommu|vfio_\w{1,40}|vgaarb): |\[(?:DMA Read|DMA Write|INTR-REMAP)\b|Event logged \[[A-Z_]+/m;

const OPTION = /(?:^|\s)(?:BOOT_IMAGE=|root=|intel_iommu=|amd_iommu=|iommu=|ro(?:\s|$)|quiet(?:\s|$)|initrd=)/;

/** A command line by itself: one line, or the one line of a paste that begins with BOOT_IMAGE= or follows "cat /proc/cmdline". */
const commandLineOf = (text: string): string | undefined => {
  const lines = text.split("\n").map((line) => line.trim()).filter((line) => line !== "");
  const asked = lines.findIndex((line) => line.endsWith("cat /proc/cmdline"));
  if (asked >= 0 && lines[asked + 1] !== undefined) return lines[asked + 1];
  const booted = lines.find((line) => line.startsWith("BOOT_IMAGE="));
  if (booted !== undefined) return booted;
  const [only] = lines;
  return lines.length === 1 && only !== undefined && only.length < 4096 && OPTION.test(only) && !/^\[|: /.test(only) ? only : undefined;
};

const releaseOf = (text: string): string | undefined => /Linux version (\d+\.\d+\S{0,60})/.exec(text)?.[1] ?? /^Linux \S{1,80} (\d+\.\d+\.\S{1,60})/m.exec(text)?.[1] ?? /^(\d+\.\d+\.\d+[\w.+-]{0,60})\s*$/.exec(text.trim())?.[1];

/** A listing that shows which function is in which group, and nothing else of lspci. */
const kindOfHosts = (text: string): string => (/iommu_groups\/\d+\/devices\//.test(text) || /IOMMU Group \d+/i.test(text) ? "IOMMU groups" : "lspci");

const guestsOf = (text: string, source: string): { readonly guests: GuestDomain[]; readonly kinds: string[]; readonly warnings: string[] } => {
  if (looksLikeDomainXml(text)) {
    try {
      return { guests: [parseDomainXml(text, source)], kinds: ["libvirt domain XML"], warnings: [] };
    } catch (error) {
      if (!(error instanceof DomainXmlError)) throw error;
      return { guests: [], kinds: [], warnings: [`${source}: ${error.message}`] };
    }
  }
  return looksLikeQemuCommand(text) ? { guests: [parseQemuCommand(text, source)], kinds: ["QEMU command line"], warnings: [] } : { guests: [], kinds: [], warnings: [] };
};

/**
 * Finds out what a pasted text is. Never throws; what is nothing known has no kinds.
 * @param name where it comes from, for messages
 */
export const recogniseText = (text: string, name: string, ids?: IdsByName): Recognised => {
  const bounded = text.slice(0, LONGEST).replaceAll("\r\n", "\n");
  const guests = guestsOf(bounded, name);
  // A domain's XML holds addresses that are no lspci.
  const isXml = looksLikeDomainXml(bounded);
  const hosts = !isXml && looksLikeLspci(bounded) ? parseLspci(text).map((host, i, all) => lspciSnapshot(host, all.length > 1 ? `${name}, host ${i + 1}` : name, ids)) : [];
  const { kinds, files } = isXml ? { kinds: [], files: {} } : filesOf(bounded);
  const log = !isXml && LOG.test(bounded);
  const commandLine = isXml ? undefined : (hosts[0]?.commandLine ?? commandLineOf(bounded));
  const kernelRelease = isXml ? undefined : releaseOf(bounded);
  return {
    kinds: [...(hosts.length > 0 ? [kindOfHosts(bounded)] : []), ...(log ? ["kernel log"] : []), ...(commandLine === undefined ? [] : ["/proc/cmdline"]), ...(kernelRelease !== undefined && !log && hosts.length === 0 ? ["uname"] : []), ...kinds, ...guests.kinds],
    hosts,
    guests: guests.guests,
    dmesg: log ? bounded : undefined,
    commandLine,
    kernelRelease,
    files,
    warnings: guests.warnings,
  };
};
