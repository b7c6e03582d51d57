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
    var box = document.createElement('main'), text = document.createElement('p'), button = document.createElement('button');
    box.className = 'alone';
    text.setAttribute('role', 'alert');
    text.textContent = 'This page could not be fetched from the router.';
    button.className = 'button primary';
    button.textContent = 'Try again';
    button.addEventListener('click', function () { location.reload(); });
    box.append(text, button);
    app.replaceChildren(box);
  }, true);
})();
