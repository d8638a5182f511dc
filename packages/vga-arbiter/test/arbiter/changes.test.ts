import { describe, expect, test } from "vitest";
import { formatResources, LEGACY_RESOURCES, VgaArbiter, VgaResource } from "../../src/index.ts";
import { bridge, device } from "../fake-devices.ts";

describe("the arbiter tells of changes", () => {
  test("after each one, who owns and locks what is what it is then", () => {
    const told: string[] = [];
    const changed = ({ states, waiting }: VgaArbiter): void => { told.push([...states.map(({ owns, locks }) => `${formatResources(owns)}/${formatResources(locks)}`), `${waiting.length} wait`].join(" ")); };
    const arbiter = new VgaArbiter({ kernel: "6.12", changed });
    const [first, second] = [device("01:00.0", 3, [bridge("00:01.0", true)]), device("02:00.0", 3, [bridge("00:1c.0", false)])];
    arbiter.scan([first, second]);
    arbiter.tryGet(first, LEGACY_RESOURCES);
    arbiter.get(second, LEGACY_RESOURCES);
    arbiter.put(first, LEGACY_RESOURCES);
    arbiter.setLegacyDecoding(first, VgaResource.None);
    arbiter.remove(first);
    expect(told).toEqual(["io+mem/none 0 wait", "io+mem/none none/none 0 wait", "io+mem/io+mem none/none 0 wait", "io+mem/io+mem none/none 1 wait", "io+mem/none none/none 1 wait", "none/none io+mem/io+mem 1 wait", "none/none io+mem/io+mem 0 wait", "none/none io+mem/io+mem 0 wait", "io+mem/io+mem 0 wait"]);
  });
});
