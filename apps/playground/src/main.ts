import { bundledHosts, readBundled } from "@iommu-lab/host/bundled";
import { reportGroups } from "@iommu-lab/host";
import "./style.css";
import { groupsView } from "./groups-view.ts";

const [host] = bundledHosts;
const app = document.querySelector("#app");
app?.replaceChildren(groupsView(host, reportGroups(readBundled(host.name))));
