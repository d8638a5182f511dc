/** Plans of bundled and made hosts, for tests. */
import { DISTROS, GUESTS, makePlan, TARGETS, type PlanRequest, type PlanResult } from "../../src/plan/index.ts";
import { readBundled } from "../../src/bundled/index.ts";
import type { HostSnapshot } from "../../src/index.ts";
import { address } from "../made-hosts.ts";

const GPU_HOST = "i7-3770-p8z68-v";

/** The bundled host with another command line. */
export const gpuHost = (more: Partial<HostSnapshot> = {}): HostSnapshot => ({ ...readBundled(GPU_HOST), ...more });

/** A host with one function changed. */
export const withFunction = (snapshot: HostSnapshot, name: string, change: Partial<HostSnapshot["functions"][number]>): HostSnapshot => {
  const at = address(name);
  return { ...snapshot, functions: snapshot.functions.map((f) => (f.address.domain === at.domain && f.address.requester === at.requester ? { ...f, ...change } : f)) };
};

export const request = (devices: readonly string[], more: Partial<PlanRequest> = {}): PlanRequest => ({ devices: devices.map(address), distro: "debian", target: "libvirt", ...more });

export const GPU = ["01:00.0"];

/** The plan; fails when there is none. */
export const planned = (snapshot: HostSnapshot, wanted: PlanRequest): PlanResult => {
  const result = makePlan(snapshot, wanted);
  if (result.kind !== "plan") throw new Error(`no plan: ${JSON.stringify(result)}`);
  return result;
};

/** A file's text; fails when the plan has none of that path. */
export const fileOf = (plan: PlanResult, path: string): string => {
  const file = plan.files.find((each) => each.path === path);
  if (!file) throw new Error(`no ${path} among ${plan.files.map((each) => each.path).join(" ")}`);
  return file.text;
};

export const everyWay: readonly Pick<PlanRequest, "distro" | "target" | "guest">[] = DISTROS.flatMap((distro) => TARGETS.flatMap((target) => GUESTS.map((guest) => ({ distro, target, guest }))));
