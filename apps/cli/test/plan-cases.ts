/** What the bundled hosts can give away, planned: for the tests that show plans to the tools that read them. */
import { readSysfs, type HostSnapshot } from "@iommu-lab/host";
import { bundledHosts } from "@iommu-lab/host/bundled";
import { makePlan, type PlanFile, type PlanRequest, type PlanResult } from "@iommu-lab/host/plan";

/** A plan and whose it is. */
export interface PlanCase {
  readonly what: string;
  readonly plan: PlanResult;
}

/** What a request says but its devices. */
export type Wanted = Omit<PlanRequest, "devices">;

interface NamedHost {
  readonly name: string;
  readonly snapshot: HostSnapshot;
}

export const hosts: readonly NamedHost[] = bundledHosts.map(({ name, tree }) => ({ name, snapshot: readSysfs(tree()) }));
const ASSUME = new Set(["iommu", "groups", "drivers", "interrupt-remapping", "reserved-memory", "unused"] as const);

/** A plan for every function that can have one. */
export const plansOf = ({ name, snapshot }: NamedHost, wanted: Wanted): PlanCase[] =>
  snapshot.functions.flatMap(({ address }) => {
    const plan = makePlan(snapshot, { devices: [address], assume: ASSUME, ...wanted });
    return plan.kind === "plan" ? [{ what: `${name} ${address.requester.toString(16)} ${JSON.stringify({ ...wanted, assume: undefined })}`, plan }] : [];
  });

/** Functions of several groups in one guest. */
export const everything = (wanted: Wanted): PlanCase[] =>
  hosts.flatMap(({ name, snapshot }) => {
    const devices = snapshot.functions.filter(({ address }) => makePlan(snapshot, { devices: [address], assume: ASSUME, ...wanted }).kind === "plan").map(({ address }) => address);
    const plan = devices.length > 0 ? makePlan(snapshot, { devices, assume: ASSUME, ...wanted }) : undefined;
    return plan?.kind === "plan" ? [{ what: `${name} all ${JSON.stringify(wanted)}`, plan }] : [];
  });

/** A plan's file, by its path or the end of it. */
export const fileOf = ({ plan }: PlanCase, path: string): PlanFile => {
  const file = plan.files.find((each) => each.path.endsWith(path));
  if (!file) throw new Error(`no ${path}`);
  return file;
};
