// The frame around every page, and which page an address is.
import { render } from "preact";
import { useEffect } from "preact/hooks";
import { Icon } from "./parts/state";
import { find, follow, place } from "./router";
import { link, listen, useStatus } from "./store";

const tabs = [
  { to: "/", text: "Queues" },
  { to: "/changes", text: "Changes" },
  { to: "/repositories", text: "Repositories" },
  { to: "/workers", text: "Workers" },
];

function Head({ tab }: { tab: string }) {
  return (
    <header class="head">
      <a class="skip" href="#main">Skip to the content</a>
      <div class="wide">
        <a class="brand" href="/"><img src="/icon.svg" alt="" width="24" height="24" />sluice</a>
        <nav aria-label="Pages">
          {tabs.map((t) => <a key={t.to} href={t.to} aria-current={t.to === tab ? "page" : undefined}>{t.text}</a>)}
        </nav>
        <Links />
      </div>
    </header>
  );
}

/** Whether this page hears the service, and the service each Gerrit. */
function Links() {
  const { data } = useStatus();
  const down = (data.value?.streams ?? []).filter((s) => !s.connected);
  return (
    <div class="links" role="status">
      {link.value === "reconnecting"
        ? <span class="note odd"><Icon look="odd" />reconnecting</span>
        : <span class={"note live" + (link.value === "live" ? "" : " dim")} title="This page updates by itself."><i class="dot" />{link.value === "live" ? "live" : "connecting"}</span>}
      {down.map((s) => (
        <a key={s.gerrit} class="note odd" href="/workers" title={s.error}><Icon look="odd" />Gerrit {s.gerrit} not heard</a>
      ))}
    </div>
  );
}

function Page() {
  const { path } = place.value;
  const found = find(path);
  return (
    <>
      <Head tab={found?.at.tab ?? ""} />
      <main id="main" class="wide" tabIndex={-1}>
        {found ? <found.at.page key={path} args={found.args} /> : <Nowhere />}
      </main>
    </>
  );
}

function Nowhere() {
  useEffect(() => { document.title = "Not found · sluice"; });
  return (
    <div class="empty">
      <h1>There is nothing here</h1>
      <p>The address names no page. <a href="/">The queues</a> are a good place to begin.</p>
    </div>
  );
}

listen();
follow();
render(<Page />, document.getElementById("page")!);
