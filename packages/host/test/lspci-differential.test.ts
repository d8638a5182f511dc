/** The text that the real lspci makes of a host's configuration bytes says the same about its groups as the bytes do. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { buildHost } from "../src/bundled/build-host.ts";
import { ivyBridgeZ68, withProcessorAcs } from "../src/bundled/ivy-bridge-z68.ts";
import { looksLikeLspci, lspciSnapshot, parseLspci, readSysfs, reportGroups, type HostSnapshot } from "../src/index.ts";
import { anyDamage } from "./damage.ts";
import { hasLspci, runLspci, skippedWithoutLspci } from "../../../test/lspci.ts";
import { hexDump, outcome, switchHost } from "./made-hosts.ts";
import { randomHost } from "./random-hosts.ts";

const files = { bundled: readSysfs(buildHost(ivyBridgeZ68)), "bundled with ACS": readSysfs(buildHost(withProcessorAcs)), "with a switch": readSysfs(buildHost(switchHost())) };

const textOf = (snapshot: HostSnapshot, ...args: string[]): string => runLspci(hexDump(snapshot), ...args);

const groupsOfText = (text: string): ReturnType<typeof outcome>[] => parseLspci(text).map((host) => outcome(reportGroups(lspciSnapshot(host, "text"), "computed")));

describe.skipIf(!hasLspci())(`groups of a host's lspci text and of its files${skippedWithoutLspci}`, () => {
  test.each(Object.entries(files))("%s: -vvv -nn gives the same partition", (_name, snapshot) => {
    expect(groupsOfText(textOf(snapshot, "-vvv", "-nn"))).toEqual([outcome(reportGroups(snapshot, "computed"))]);
  });

  test.each(Object.entries(files))("%s: -D -vv -nn gives the same partition", (_name, snapshot) => {
    expect(groupsOfText(textOf(snapshot, "-D", "-vv", "-nn"))).toEqual([outcome(reportGroups(snapshot, "computed"))]);
  });

  test.each(Object.entries(files))("%s: the complete bytes of -xxxx need no -v at all", (_name, snapshot) => {
    expect(groupsOfText(textOf(snapshot, "-xxxx"))).toEqual([outcome(reportGroups(snapshot, "computed"))]);
  });

  test.each(Object.entries(files))("%s: the tree of -t has every function below its bridge", (_name, snapshot) => {
    const [host] = parseLspci(textOf(snapshot, "-tnn"));
    const parents = (functions: HostSnapshot["functions"]): object[] => functions.map(({ address, parent }) => ({ address, parent }));
    expect(parents(lspciSnapshot(host ?? { functions: [], warnings: [] }, "tree").functions)).toEqual(parents(snapshot.functions));
  });

  test("a random host's text gives the same partition as its files, however it was damaged on the way", () => {
    fc.assert(
      fc.property(randomHost, fc.array(anyDamage, { minLength: 6, maxLength: 6 }), (host, damages) => {
        const snapshot = readSysfs(buildHost(host));
        const expected = [outcome(reportGroups(snapshot, "computed"))];
        const text = textOf(snapshot, "-vvv", "-nn");
        expect(groupsOfText(text)).toEqual(expected);
        for (const damage of damages) {
          const damaged = damage(text);
          expect(looksLikeLspci(damaged)).toBe(true);
          expect(groupsOfText(damaged), damaged).toEqual(expected);
        }
      }),
      { numRuns: 25 },
    );
  });
});
