// Aladin Lite with what we know over it. Loaded by its button alone; without a network for the
// images, or without WebGL, the drawing stays. Names are only ever text.
const button = document.getElementById("load-viewer");
const place = document.getElementById("viewer");
const say = (text) => (document.getElementById("viewer-state").textContent = text);
const PROBE = "https://alasky.cds.unistra.fr/DSS/DSSColor/properties";

async function imagesAreThere() {
  try {
    return (await fetch(PROBE, { signal: AbortSignal.timeout(4000) })).ok;
  } catch {
    return false;
  }
}

function drawOver(A, aladin, sky) {
  for (const [level, colour] of [["0.9", "#5f95e6"], ["0.5", "#ffd166"]]) {
    const overlay = A.graphicOverlay({ name: `${100 * level} % region`, color: colour, lineWidth: 2 });
    aladin.addOverlay(overlay);
    for (const ring of sky.outlines[level] ?? []) overlay.add(A.polyline([...ring, ring[0]]));
  }
  const pointings = A.graphicOverlay({ name: "Pointings of others", color: "#7bd88f" });
  aladin.addOverlay(pointings);
  for (const p of sky.pointings) pointings.add(A.circle(p.ra_deg, p.dec_deg, p.radius_deg ?? 0.1));
  const catalogue = A.catalog({ name: "Candidates", sourceSize: 14, color: "#ff6a5e", shape: "circle" });
  aladin.addCatalog(catalogue);
  catalogue.addSources(sky.candidates.map((c) => A.source(c.ra_deg, c.dec_deg, { index: c.object_id, rank: c.rank })));
  aladin.on("objectClicked", (source) => {
    const chosen = document.getElementById("viewer-chosen");
    chosen.textContent = source?.data ? `${source.data.index}${source.data.rank ? `, rank ${source.data.rank}` : ""}` : "";
  });
}

async function load() {
  button.disabled = true;
  say("loading");
  try {
    const [{ default: A }, answer] = await Promise.all([import("/viewer/aladin.js"), fetch(button.dataset.sky)]);
    const sky = await answer.json();
    await A.init;
    const withImages = await imagesAreThere();
    place.hidden = false;
    const first = sky.candidates[0] ?? { ra_deg: sky.outlines["0.9"]?.[0]?.[0]?.[0] ?? 0, dec_deg: sky.outlines["0.9"]?.[0]?.[0]?.[1] ?? 0 };
    const aladin = A.aladin("#viewer", {
      survey: withImages ? "CDS/P/DSS2/color" : "empty",
      target: `${first.ra_deg} ${first.dec_deg}`,
      fov: 20,
      cooFrame: "ICRSd",
      showFullscreenControl: false,
      showShareControl: false,
      showSimbadPointerControl: false,
    });
    drawOver(A, aladin, sky);
    say(withImages ? "" : "No network for its images: regions and candidates alone, and the drawing below.");
    document.getElementById("drawing").hidden = withImages;
    place.dataset.ready = "yes";
    button.hidden = true;
  } catch (error) {
    place.hidden = true;
    button.disabled = false;
    say(`It cannot be shown here (${error?.message ?? error}); the drawing below is complete.`);
    place.dataset.ready = "no";
  }
}

button?.addEventListener("click", load);
