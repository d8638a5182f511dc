/** What the page shows; all of it is in the address after "#". */
export type Route =
  | { readonly view: "groups" }
  | { readonly view: "run"; readonly scenario: string; readonly iommu: "intel" | "amd"; readonly seed: number; readonly without: readonly string[] };

const MOST_CHARACTERS = 500;
const NAME = /^[a-z0-9-]{1,40}$/;

/** Reads an address. What is no address of a view is the first screen. */
export const parseRoute = (hash: string): Route => {
  const [path = "", query = ""] = hash.slice(0, MOST_CHARACTERS).replace(/^#\/?/, "").split("?");
  const [view, scenario = ""] = path.split("/");
  if (view !== "run" || !NAME.test(scenario)) return { view: "groups" };
  const values = new URLSearchParams(query);
  const seed = Number(values.get("seed") ?? 1);
  return {
    view: "run",
    scenario,
    iommu: values.get("iommu") === "amd" ? "amd" : "intel",
    seed: Number.isInteger(seed) && seed >= 0 && seed < 2 ** 32 ? seed : 1,
    without: values.getAll("without").filter((name) => NAME.test(name)),
  };
};

/** The address of a view. */
export const formatRoute = (route: Route): string => {
  if (route.view === "groups") return "#/groups";
  const values = new URLSearchParams([["iommu", route.iommu], ["seed", String(route.seed)], ...route.without.map((name): [string, string] => ["without", name])]);
  return `#/run/${route.scenario}?${values}`;
};
