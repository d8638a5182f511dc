/** Every rule fires on a host with one thing broken, and not on the one that is nearly so. */
import { describe, expect, test } from "vitest";
import { RULES } from "../../src/doctor/index.ts";
import { CASES } from "./cases.ts";
import { answerOf, diagnoseWith } from "./sound-host.ts";

/** Rules that only tell, or that text alone cannot reach here: tested where they belong. */
const ELSEWHERE = new Set(["GRP-003", "GRP-010", "GST-004"]);

describe("rules", () => {
  test.each(CASES)("%s fires: %s", (id, _why, fires) => {
    expect(answerOf(diagnoseWith(fires), id)).toMatchObject({ status: "fail", advice: expect.stringMatching(/./) as string });
  });

  test.each(CASES)("%s: %s, nearly", (id, _why, _fires, near) => {
    expect(answerOf(diagnoseWith(near), id).status).toBe("pass");
  });

  test("every rule has a case", () => {
    const named = new Set(CASES.map(([id]) => id));
    expect(RULES.map(({ id }) => id).filter((id) => !named.has(id) && !ELSEWHERE.has(id))).toEqual([]);
  });

  test("a failed rule shows what it rests on", () => {
    const without = CASES.filter(([id, , fires]) => answerOf(diagnoseWith(fires), id).evidence.length === 0).map(([id]) => id);
    expect(without).toEqual([]);
  });

  test("on the sound host nothing fails and nothing that counts is unknown", () => {
    const { host, devices, verdict } = diagnoseWith();
    const open = [...host, ...devices.flatMap(({ results }) => results)].filter((result) => (result.status === "fail" && result.severity !== "info") || (result.status === "unknown" && !result.optional));
    expect(open.map(({ id, status, advice }) => `${id} ${status} ${advice}`)).toEqual([]);
    expect(verdict).toBe("ready");
  });
});
