"""The words by which shops name fields and events, in English, German, French, Spanish and Italian."""

from __future__ import annotations

import re
import unicodedata

#: For each field, the names that a log may use for it, the surest first; see `letters`.
FIELD_WORDS = {
    "event_id": "eventid insertid messageid uuid eventuuid hitid",
    "event_type": (
        "eventtype eventname event action eventaction activity verb type name evt ereignis ereignistyp "
        "aktion aktivitaet evenement typeevenement evento accion azione"
    ),
    "occurred_at": (
        "occurredat eventtime eventtimestamp timestamp clienteventtime servertimestamp datetime createdat "
        "datecreated dategmt processedat time ts servertime date zeitstempel zeitpunkt zeit datum horodatage "
        "dateheure fecha fechahora dataora timestampms eventts when at"
    ),
    "received_at": "receivedat serveruploadtime collectedat ingestedat serverreceivedat",
    "user_id": (
        "userid user customerid customer kundennummer kundennr kundenid kunde clientid client idclient "
        "utilisateur idutilisateur visitorid visitor besucherid besucher distinctid shopperid shopper "
        "memberid accountid uid usuario utente buyerid anonymousid deviceid amplitudeid"
    ),
    "session_id": (
        "sessionid session sitzung sitzungsid sitzungid idvisit visitid visite idvisite sid sesion sessione"
    ),
    "item_id": (
        "itemid productid item product sku productviewsku itemsku articleid artikelnummer artikelnr "
        "artikelid artikel produktid produkt produit idproduit refproduit reference article "
        "producto prodotto asin ean variantid pid"
    ),
    "quantity": "quantity qty qtyordered menge anzahl stueck quantite qte cantidad quantita count pieces",
    "price": "price unitprice itemprice preis einzelpreis stueckpreis prix prixunitaire precio prezzo",
    "currency": "currency currencycode ordercurrencycode waehrung devise moneda valuta",
    "category": (
        "category categoryname itemcategory producttype kategorie warengruppe categorie rubrique categoria"
    ),
    "brand": "brand marke marque vendor manufacturer hersteller marca",
    "order_id": (
        "orderid ordernumber order transactionid transaction incrementid bestellnummer bestellnr bestellung "
        "auftragsnummer commande numerocommande numcommande idcommande pedido ordine purchaseid"
    ),
    "dwell_ms": "dwellms dwelltimems timespentms durationms verweildauerms",
    "device_type": "devicetype devicecategory device geraet geraetetyp appareil typeappareil dispositivo",
    "country": "countrycode country land landcode pays codepays pais paese",
    "region": "regioncode region bundesland",
    "referrer": "referrer referer pagereferrer referrerurl provenance",
    "consent_analytics": (
        "consentanalytics analyticsconsent analyticsstorage consent einwilligung consentement optin "
        "cookieconsent consentimiento consenso"
    ),
    "consent_sale": "consentsale saleconsent datasaleconsent aduserdata",
    "consent_personalization": (
        "consentpersonalization personalizationconsent marketingconsent adsstorage consent einwilligung "
        "consentement optin cookieconsent consentimiento consenso"
    ),
}

#: The type of an event by a part of its name, the first that fits; see `letters`.
_EVENT_WORDS = (
    (r"remove|delete|entfern|retir|retrait|suppr|geloescht|quit|elimin|rimuov", "item_removed"),
    (
        r"add.*(cart|basket|bag)|(cart|basket|bag).*add|^cart$|inden?warenkorb|warenkorb.*(hinzu|gelegt)|"
        r"ajout.*panier|panier.*ajout|^warenkorb$|^atc$|carrito|carrello|^add$|^additem$|itemadded",
        "item_added",
    ),
    (r"abandon|abgebrochen", "checkout_abandoned"),
    (
        r"(checkout|kasse|caisse|zurkasse|tunnel|payment|bezahl).*(start|begin|init|begonn|ouv|enter)|"
        r"(start|begin|init|enter|proceed).*(checkout|kasse)|^checkout$|^kasse$|passagecaisse|^caisse$",
        "checkout_started",
    ),
    (r"refund|cancel|return|storn|rembours|annul", ""),
    (
        r"purchas|order|buy|bought|kauf|bestell|achat|commande|transaction|sale|compra|pedido|acquist|ordine",
        "order_completed",
    ),
    (
        r"(product|item|sku|detail|pdp|artikel|produkt|produit|article|fiche|prodott|product).*"
        r"(view|click|open|seen|show|detail|ansicht|angesehen|aufruf|vu|vue|visto)|"
        r"(view|click|open|seen|show|select|ansicht|vue|voir|ver).*(product|item|detail|artikel|produkt|produit|fiche)|"
        r"^(view|detail|pdp|produkt|artikel|produit|fiche|click|clicks)$|^produktseite$|^artikelseite$",
        "item_viewed",
    ),
    (
        r"page|screen|^pv$|seite|search|such|recherche|list|category|kategorie|home|landing|viewcart|viewedcart|"
        r"impression|pagina|vista",
        "page_viewed",
    ),
)
_FOLDED = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "ß": "ss"})


def letters(text: str) -> str:
    """Return a name in the form in which it is compared: small letters and digits without accents."""
    folded = unicodedata.normalize("NFKD", text.lower().translate(_FOLDED))
    return re.sub(r"[^a-z0-9]", "", folded)


def event_type(name: str) -> str:
    """Return the likely type of an event by its name; empty if no word of the name tells one."""
    plain = letters(name)
    return next((kind for pattern, kind in _EVENT_WORDS if re.search(pattern, plain)), "")
