module cofferdam.example/go-guest

go 1.24
