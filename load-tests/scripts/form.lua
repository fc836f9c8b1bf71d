wrk.method = "POST"
wrk.headers["Content-Type"] = "application/x-www-form-urlencoded"
wrk.headers["Origin"] = "https://shop.example.com"
wrk.body = "name=Erika+Mustermann&street=Heidestra%C3%9Fe+17&postcode=51147&city=K%C3%B6ln&country=DE&email=erika.mustermann%40example.com&phone=%2B49+221+1234567&item=4711&quantity=2&colour=forest+green&size=L&gift=on&wrap=paper&message=Happy+birthday%21+See+you+on+Sunday.&delivery=express&payment=invoice&newsletter=off&terms=accepted&note=xxxxxxxxxxxxxxxx"
