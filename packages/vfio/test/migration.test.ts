import { describe, expect, test } from "vitest";
import { migrationPath, MigrationState, type MigrationBackend, type MigrationFeatures } from "../src/index.ts";
import { codeOf, makeMachine, openNic } from "./machine.ts";

const { Error: ERROR, Stop, Running, StopCopy, Resuming, RunningP2P, PreCopy, PreCopyP2P } = MigrationState;
const ALL: MigrationFeatures = { peerToPeer: true, preCopy: true };
const BARE: MigrationFeatures = { peerToPeer: false, preCopy: false };

// First step of each combination, from Linux include/uapi/linux/vfio.h and vfio_mig_get_next_state (kernel 6.1 to 6.12), in our own words. Columns as rows; E is none.
const STATES = [Stop, Running, StopCopy, Resuming, RunningP2P, PreCopy, PreCopyP2P] as const;
const FIRST: readonly (readonly number[])[] = [
  // Stop, Running, StopCopy, Resuming, RunningP2P, PreCopy, PreCopyP2P
  [Stop, RunningP2P, StopCopy, Resuming, RunningP2P, RunningP2P, RunningP2P],
  [RunningP2P, Running, RunningP2P, RunningP2P, RunningP2P, PreCopy, RunningP2P],
  [Stop, Stop, StopCopy, Stop, Stop, ERROR, ERROR],
  [Stop, Stop, Stop, Resuming, Stop, Stop, Stop],
  [Stop, Running, Stop, Stop, RunningP2P, Running, PreCopyP2P],
  [Running, Running, PreCopyP2P, Running, Running, PreCopy, PreCopyP2P],
  [RunningP2P, RunningP2P, StopCopy, RunningP2P, RunningP2P, PreCopy, PreCopyP2P],
];
const cases = STATES.flatMap((from, row) => STATES.map((to, column) => [from, to, FIRST[row]?.[column] ?? ERROR] as const)).filter(([from, to]) => from !== to);

describe("migration states", () => {
  test.each(cases)("from %d to %d the first step is %d", (from, to, first) => {
    const path = migrationPath(from, to, ALL);
    expect(path?.[0] ?? ERROR).toBe(first);
    if (path) expect(path.at(-1)).toBe(to);
  });
  // The kernel asks for the next step from each state that it comes to.
  test.each(cases)("from %d to %d each step is the first from where the last one led", (from, to) => {
    const path = migrationPath(from, to, ALL) ?? [];
    expect(path.map((_, index) => migrationPath(index === 0 ? from : (path[index - 1] as MigrationState), to, ALL)?.[0])).toEqual(path);
  });
  test("there is no eighth state", () => {
    expect(STATES.map((state) => migrationPath(state, 8 as MigrationState, ALL))).toEqual(STATES.map(() => undefined));
  });
  test("nothing leads into or out of ERROR", () => {
    expect(STATES.flatMap((state) => [migrationPath(state, ERROR, ALL), migrationPath(ERROR, state, ALL)]).every((path) => path === undefined)).toBe(true);
  });
  test("staying is no step", () => {
    expect(STATES.map((state) => migrationPath(state, state, ALL)?.length)).toEqual(STATES.map(() => 0));
  });
  test.each([
    [Running, StopCopy, BARE, [Stop, StopCopy]],
    [Stop, Running, BARE, [Running]],
    [Running, PreCopy, BARE, undefined],
    [Running, RunningP2P, BARE, undefined],
    [PreCopy, StopCopy, { peerToPeer: false, preCopy: true }, [StopCopy]],
    [Running, PreCopyP2P, { peerToPeer: false, preCopy: true }, undefined],
    [Running, Resuming, { peerToPeer: true, preCopy: false }, [RunningP2P, Stop, Resuming]],
  ] as const)("from %d to %d with %o: states that the device lacks are passed over", (from, to, features, path) => {
    expect(migrationPath(from, to, features)).toEqual(path);
  });
});

const backend = (state: { bytes: Uint8Array; fail?: MigrationState }, steps: number[] = []): MigrationBackend => ({
  ...ALL,
  step: (_from, to) => {
    steps.push(to);
    return to !== state.fail;
  },
  save: () => state.bytes,
  load: (data) => {
    if (data.length === 0) return false;
    state.bytes = data;
    return true;
  },
});

describe("migrating a device", () => {
  test("its state goes from one to the other, byte for byte", () => {
    const source = { bytes: Uint8Array.of(1, 2, 3) };
    const target = { bytes: new Uint8Array() };
    const from = openNic(makeMachine({ quirks: () => ({ migration: backend(source) }) })).device.migration;
    const to = openNic(makeMachine({ quirks: () => ({ migration: backend(target) }) })).device.migration;
    from.setState(StopCopy);
    to.setState(Resuming);
    for (const byte of from.read()) to.write(Uint8Array.of(byte));
    to.setState(Running);
    expect([[...target.bytes], to.state, from.state]).toEqual([[1, 2, 3], Running, StopCopy]);
  });
  test("data flows in the states that have it", () => {
    const { migration } = openNic(makeMachine({ quirks: () => ({ migration: backend({ bytes: Uint8Array.of(1) }) }) })).device;
    expect([codeOf(() => migration.read()), codeOf(() => { migration.write(Uint8Array.of(1)); })]).toEqual(["ENODEV", "ENODEV"]);
    migration.setState(PreCopy);
    expect([...migration.read()]).toEqual([1]);
    expect(codeOf(() => { migration.setState(ERROR); })).toBe("EINVAL");
  });
  test("a device that fails is in ERROR until it is reset", () => {
    const steps: number[] = [];
    const { device } = openNic(makeMachine({ quirks: () => ({ migration: backend({ bytes: Uint8Array.of(1), fail: Stop }, steps) }) }));
    expect([codeOf(() => { device.migration.setState(StopCopy); }), device.migration.state, steps]).toEqual(["EIO", ERROR, [RunningP2P, Stop]]);
    expect(codeOf(() => { device.migration.setState(Running); })).toBe("EINVAL");
    device.reset();
    expect([device.migration.state, device.migration.features]).toEqual([Running, ALL]);
  });
  test("a state that is not the device's is an error", () => {
    const { migration } = openNic(makeMachine({ quirks: () => ({ migration: backend({ bytes: Uint8Array.of(1) }) }) })).device;
    migration.setState(Resuming);
    expect([codeOf(() => { migration.setState(Stop); }), migration.state]).toEqual(["EIO", ERROR]);
  });
});
