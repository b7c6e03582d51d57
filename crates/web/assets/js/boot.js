// The first script, and a classic one: the page is modules, and one of them that cannot be fetched (the web server starts anew, a
// phone changes its network) would leave "Loading" there for ever. It is tried again once by itself, then when it is asked to.
(function () {
  var TRIED = 'mwan.tried';
  function triedAlready() {
    try {
      var tried = sessionStorage.getItem(TRIED) !== null;
      sessionStorage.setItem(TRIED, '1');
      return tried;
    } catch (e) { return true; /* storage is switched off: it could be tried for ever */ }
  }
  addEventListener('error', function (e) {
    var app = document.getElementById('app');
    if (!(e.target instanceof HTMLScriptElement) || e.target.type !== 'module' || !app) return;
    if (!triedAlready()) { location.reload(); return; }
    app.innerHTML = '<main class="alone"><div class="login card" role="alert"><p>This page could not be fetched from the router.</p>'
      + '<button type="button" class="button primary block">Try again</button></div></main>';
    app.querySelector('button').addEventListener('click', function () { location.reload(); });
  }, true);
})();
