import { reportGroups } from "@iommu-lab/host";
import { bundledHosts, readBundled } from "@iommu-lab/host/bundled";
import { describe, expect, test } from "vitest";
import { groupsView } from "../src/groups-view.ts";

describe("groups view", () => {
  test("every bundled host's groups are shown with their devices and reasons", () => {
    for (const host of bundledHosts) {
      const report = reportGroups(readBundled(host.name));
      const view = groupsView(host, report);
      document.body.replaceChildren(view);
      expect(view.querySelectorAll(".group")).toHaveLength(report.groups.length);
      expect(view.querySelectorAll(".group > ul > li")).toHaveLength(report.groups.flatMap(({ devices }) => devices).length);
    }
  });
  test("text from a host is never read as markup", () => {
    const view = groupsView({ title: "<img src=x onerror=alert(1)>", provenance: "<b>" }, reportGroups(readBundled(bundledHosts[0].name)));
    expect(view.querySelector("img, b")).toBeNull();
  });
});
