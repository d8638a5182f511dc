import { bundledHosts, readBundled } from "@iommu-lab/host/bundled";
import { reportGroups } from "@iommu-lab/host";
import "./style.css";
import { element } from "./element.ts";
import { groupsView } from "./groups-view.ts";
import { formatRoute, parseRoute, type Route } from "./route.ts";

const app = document.querySelector("#app");

const link = (text: string, route: Route, current: boolean): HTMLElement => {
  const made = element("a", text);
  made.href = formatRoute(route);
  if (current) made.setAttribute("aria-current", "page");
  return made;
};

const navigation = (route: Route): HTMLElement => {
  const nav = element("nav", [link("A machine and its groups", { view: "groups" }, route.view === "groups"), link("Scenarios", { view: "run", scenario: "rogue-device", iommu: "intel", seed: 1, without: [] }, route.view === "run")]);
  nav.setAttribute("aria-label", "Views");
  return nav;
};

const groups = (): HTMLElement => {
  const [host] = bundledHosts;
  return groupsView(host, reportGroups(readBundled(host.name)));
};

/** The machines come only when a scenario is asked for. */
const runView = async (route: Extract<Route, { readonly view: "run" }>): Promise<HTMLElement> => {
  const [{ runScenario, SCENARIOS }, { scenarioView }] = await Promise.all([import("@iommu-lab/hypervisor/scenarios"), import("./scenario-view.ts")]);
  const scenario = SCENARIOS.find(({ name }) => name === route.scenario) ?? SCENARIOS[0];
  if (!scenario) throw new Error("There are no scenarios.");
  const { iommu, seed } = route;
  const run = runScenario(scenario, { iommu, seed, without: route.without.filter((name) => name in scenario.protections) });
  return scenarioView(SCENARIOS, scenario, run, route, (next) => { location.hash = formatRoute(next); });
};

const show = async (): Promise<void> => {
  const route = parseRoute(location.hash);
  const view = route.view === "run" ? await runView(route) : groups();
  // Somebody may have gone on meanwhile.
  if (formatRoute(parseRoute(location.hash)) !== formatRoute(route)) return;
  const held = document.activeElement instanceof HTMLSelectElement || document.activeElement instanceof HTMLInputElement ? { name: document.activeElement.name, value: document.activeElement.value } : undefined;
  app?.replaceChildren(navigation(route), view);
  // Whoever was at a control stays there.
  if (held) for (const control of document.querySelectorAll<HTMLElement & { readonly name: string; readonly value: string }>(`[name="${held.name}"]`)) if (control instanceof HTMLSelectElement || control.value === held.value) control.focus();
};

addEventListener("hashchange", () => void show());
void show();
