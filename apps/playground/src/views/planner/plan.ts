import type { HostSnapshot } from "@iommu-lab/host";
import { diagnose, type Diagnosis, type GuestDomain, type RuleResult } from "@iommu-lab/host/doctor";
import { makePlan, parseLibvirtVersion, type PlanRequest, type PlanResult } from "@iommu-lab/host/plan";
import { formatAddress, parseAddress, type FunctionAddress } from "@iommu-lab/pci-bus";
import type { PlannerSettings } from "./settings.ts";

export type Planned = ReturnType<typeof makePlan>;

/** Functions that are chosen and there. */
const chosenDevices = ({ functions }: HostSnapshot, devices: readonly string[]): FunctionAddress[] =>
  devices.flatMap((text) => {
    const address = parseAddress(text);
    return address && functions.some((f) => formatAddress(f.address) === formatAddress(address)) ? [address] : [];
  });

/** What the command's exit would be. */
export const EXIT = { ready: 0, warnings: 1, errors: 2, blocked: 3, "not-enough-data": 4 } as const;
export const planExit = (planned: Planned): number => (planned.kind === "plan" ? (planned.host.length > 0 ? 1 : 0) : planned.kind === "refusal" ? 3 : planned.kind === "not-enough-data" ? 4 : 2);

/** The doctor's answers: of the chosen functions, of those the pasted VM gets, else of the displays. */
export const diagnoseFor = (snapshot: HostSnapshot, guests: readonly GuestDomain[], devices: readonly string[]): Diagnosis => {
  const [guest] = guests;
  const asked = chosenDevices(snapshot, devices);
  const named = asked.length > 0 ? asked : chosenDevices(snapshot, (guest?.devices ?? []).map(({ host }) => host));
  return diagnose(snapshot, { devices: named.length > 0 ? named : undefined, guest });
};

const RANK = { block: 0, error: 1, warning: 2, info: 3 } as const;
const ORDER = { fail: 0, unknown: 1, pass: 2 } as const;

/** Worst first: what failed by its gravity, then what is not known, then what is well. */
export const sortRules = (rules: readonly RuleResult[]): RuleResult[] => rules.toSorted((a, b) => ORDER[a.status] - ORDER[b.status] || RANK[a.severity] - RANK[b.severity]);

export const rulesOf = ({ host, devices }: Diagnosis): RuleResult[] => [...host, ...devices.flatMap(({ results }) => results)];

const requestOf = ({ distro, target, guest, guestIommu, hugepages, memory, libvirt, assume }: PlannerSettings, devices: readonly FunctionAddress[]): PlanRequest => {
  const version = parseLibvirtVersion(libvirt);
  return { devices, distro, target, ...(version ? { libvirt: version } : {}), guest, guestIommu, hugepages, ...(memory === 0 ? {} : { memory }), assume: new Set(assume) };
};

/** The plan for what is chosen; undefined while nothing is. */
export const planFor = (snapshot: HostSnapshot, settings: PlannerSettings): Planned | undefined => {
  const devices = chosenDevices(snapshot, settings.devices);
  return devices.length === 0 ? undefined : makePlan(snapshot, requestOf(settings, devices));
};

/** The command that writes the same files. */
export const commandOf = ({ devices, distro, target, guest, guestIommu, hugepages, memory, libvirt, assume }: PlannerSettings): string =>
  ["iommu plan", ...devices.map((each) => `--device ${each}`), `--distro ${distro}`, `--target ${target}`, ...(guest === "linux" ? [] : [`--guest ${guest}`]), ...(guestIommu === "none" ? [] : [`--guest-iommu ${guestIommu}`]), ...(hugepages ? ["--hugepages"] : []), ...(memory === 0 ? [] : [`--memory ${memory}`]), ...(libvirt === "9.0" ? [] : [`--libvirt-version ${libvirt}`]), ...assume.map((each) => `--assume ${each}`), "--out plan"].join(" ");

/** What a file of a plan is compared with: the host's own file, or that of a plan for another distribution; undefined where there is none. */
export const otherText = (snapshot: HostSnapshot, settings: PlannerSettings, plan: PlanResult, path: string): string | undefined => {
  if (settings.against === "file") return undefined;
  if (settings.against === "host") {
    const bytes = path.startsWith("host/") ? snapshot.files?.read(path.slice("host/".length)) : undefined;
    return bytes && new TextDecoder().decode(bytes);
  }
  const other = settings.against === settings.distro ? plan : planFor(snapshot, { ...settings, distro: settings.against });
  return other?.kind === "plan" ? other.files.find((each) => each.path === path)?.text : undefined;
};
